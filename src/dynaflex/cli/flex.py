"""``flex``: the whole 3DFlex pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dynaflex.cli.options import choice, run_pipeline
from dynaflex.pipelines import maps
from dynaflex.pipelines.flex.method import FLEX
from dynaflex.pipelines.inputs import InputPaths
from dynaflex.pipelines.pipeline import STAGES


def flex_command(
    particles: Annotated[Path, typer.Argument(help="RELION STAR or cryoSPARC .cs file of a finished refinement.")],
    map: Annotated[Path, typer.Option("--map", help="Consensus map, .mrc, white molecules.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Run directory.")],
    mask: Annotated[Path | None, typer.Option(help="Soft mask around all that may move.")] = None,
    mesh: Annotated[Path | None, typer.Option(help="Mesh of `dynaflex mesh`; default: a regular one.")] = None,
    stationary: Annotated[
        Path | None, typer.Option(help="Mask of what must not move at all, such as a micelle.")
    ] = None,
    half_maps: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Consensus half-maps 1 and 2: each half starts from its own.")
    ] = None,
    initial_latents: Annotated[
        Path | None, typer.Option(help="Start from these: latents.npz, .npy, cryoSPARC .cs or cryoDRGN z.pkl.")
    ] = None,
    datadir: Annotated[Path | None, typer.Option(help="Where to look for image files.")] = None,
    class_number: Annotated[int | None, typer.Option("--class", help="Take only this class of particles.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Sweeps over the data; default: enough to converge.")] = None,
    latent_dim: Annotated[int, typer.Option(help="Latent coordinates; start with 2.")] = 2,
    start: Annotated[str, typer.Option(help="'subspace': from linear components of the images; 'zero'.")] = "subspace",
    prior: Annotated[str, typer.Option(help="On latents: 'gaussian', or 'wall', flat inside ±1.")] = "gaussian",
    inference: Annotated[str, typer.Option(help="'newton', or 'descent': coordinate descent.")] = "newton",
    cells: Annotated[int, typer.Option(help="Cubes of the mesh along a side of the box.")] = 20,
    rigidity: Annotated[float, typer.Option(help="Lambda: stiffness of the molecule; 0.1 to 5 are useful.")] = 0.7,
    stiffen: Annotated[bool, typer.Option(help="Make low density stiffer, for small or noisy particles.")] = False,
    layers: Annotated[int, typer.Option(help="Hidden layers of the flow generator.")] = 6,
    width: Annotated[int, typer.Option(help="Units per hidden layer.")] = 64,
    train_box: Annotated[int | None, typer.Option(help="Fourier-cropped training box; default at most 128.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Particles per update of the flow.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Map contour of the molecule; default automatic.")] = None,
    resolution: Annotated[float, typer.Option("--shared-resolution", help="R0 in Å, see docs.")] = 20.0,
    diameter: Annotated[float | None, typer.Option(help="Particle diameter in Å; default from the mask.")] = None,
    invert_contrast: Annotated[bool, typer.Option(help="For particles that are black.")] = False,
    solver: Annotated[
        str,
        typer.Option(help="'iterative' least squares; 'wiener', with a prior; 'lbfgs', the paper's; 'backprojection'."),
    ] = "iterative",
    half_sets: Annotated[
        str, typer.Option(help="'independent': a motion model each; 'shared': one, as in the paper.")
    ] = "independent",
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:1'.")] = "auto",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal runs on the CPU.")] = 0,
    until: Annotated[str, typer.Option(help=f"Last stage: {', '.join(STAGES)}.")] = "report",
    skip_check: Annotated[bool, typer.Option("--skip-check", help="Train even if the particles do not match.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in -o, with its settings.")] = False,
) -> None:
    """Learn the motion with 3DFlex and reconstruct corrected half-maps at full resolution."""
    choice("--until", until, STAGES)
    choice("--start", start, ("subspace", "zero"))
    choice("--prior", prior, ("gaussian", "wall"))
    choice("--inference", inference, ("newton", "descent"))
    choice("--solver", solver, tuple(maps.SOLVERS))
    choice("--half-sets", half_sets, ("independent", "shared"))
    settings: dict[str, Any] = {
        "seed": seed, "class_number": class_number,
        "epochs": epochs, "latent_dim": latent_dim, "start": start, "prior": prior,
        "inference": inference, "cells": cells, "rigidity": rigidity, "stiffen": stiffen, "layers": layers,
        "width": width, "train_box": train_box, "threshold": threshold, "shared_resolution": resolution,
        "particle_diameter": diameter, "invert_contrast": invert_contrast, "solver": solver, "half_sets": half_sets,
    }  # fmt: skip
    if batch_size is not None:
        settings["batch_size"] = batch_size
    paths = InputPaths(
        particles, map, mask, half_maps, mesh=mesh, stationary=stationary, latents=initial_latents, datadir=datadir
    )
    run_pipeline(FLEX, out, paths, settings, resume=resume, until=until, device=device, skip_check=skip_check)
