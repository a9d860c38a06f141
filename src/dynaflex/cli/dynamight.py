"""``dynamight``: the whole DynaMight pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dynaflex.cli.options import choice, run_pipeline
from dynaflex.pipelines import maps
from dynaflex.pipelines.dynamight.method import DYNAMIGHT
from dynaflex.pipelines.inputs import InputPaths
from dynaflex.pipelines.pipeline import STAGES


def dynamight_command(
    particles: Annotated[Path, typer.Argument(help="RELION STAR or cryoSPARC .cs file of a finished refinement.")],
    map: Annotated[Path, typer.Option("--map", help="Consensus map, .mrc, white molecules.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Run directory.")],
    mask: Annotated[Path | None, typer.Option(help="Soft mask, for the FSC and to place Gaussians in.")] = None,
    half_maps: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Consensus half-maps 1 and 2: each half starts from its own.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Atomic model (PDB, mmCIF) for Gaussians and bonds. Warns of model bias.")
    ] = None,
    datadir: Annotated[Path | None, typer.Option(help="Where to look for image files.")] = None,
    class_number: Annotated[int | None, typer.Option("--class", help="Take only this class of particles.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Sweeps over the data; default: enough for 6000 updates.")] = None,
    latent_dim: Annotated[int, typer.Option(help="Latent coordinates.")] = 6,
    latents: Annotated[str, typer.Option(help="'table': one posterior per particle; 'encoder': a network.")] = "table",
    train_box: Annotated[int | None, typer.Option(help="Fourier-cropped training box; default at most 128.")] = None,
    batch_size: Annotated[int, typer.Option(help="Particles per update.")] = 16,
    gaussians: Annotated[int | None, typer.Option(help="Number of Gaussians; default two per residue.")] = None,
    classes: Annotated[int, typer.Option(help="Classes of Gaussian, each with a width.")] = 1,
    threshold: Annotated[float | None, typer.Option(help="Map contour to fill; default automatic.")] = None,
    resolution: Annotated[float, typer.Option("--shared-resolution", help="R0 in Å, see docs.")] = 20.0,
    diameter: Annotated[float | None, typer.Option(help="Particle diameter in Å; default from the mask.")] = None,
    regularisation: Annotated[float, typer.Option(help="Ratio of gradient norms, prior over data.")] = 0.9,
    graph: Annotated[str, typer.Option(help="'dense': 12 neighbours on average; 'paper': cutoff of eq. 12.")] = "dense",
    refine_poses: Annotated[bool, typer.Option(help="Let poses move under a prior; the drift is reported.")] = False,
    invert_contrast: Annotated[bool, typer.Option(help="For particles that are black.")] = False,
    solver: Annotated[
        str, typer.Option(help="'iterative': least squares, eq. 6; 'backprojection': eq. 7.")
    ] = "iterative",
    half_sets: Annotated[str, typer.Option(help="'independent' is what this method does.")] = "independent",
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:1'.")] = "auto",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal runs on the CPU.")] = 0,
    until: Annotated[str, typer.Option(help=f"Last stage: {', '.join(STAGES)}.")] = "report",
    skip_check: Annotated[bool, typer.Option("--skip-check", help="Train even if the particles do not match.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in -o, with its settings.")] = False,
) -> None:
    """Learn the motion with DynaMight and reconstruct corrected half-maps."""
    choice("--until", until, STAGES)
    choice("--latents", latents, ("table", "encoder"))
    choice("--graph", graph, ("dense", "paper"))
    choice("--solver", solver, tuple(maps.SOLVERS))
    choice("--half-sets", half_sets, ("independent",))
    settings: dict[str, Any] = {
        "seed": seed, "class_number": class_number,
        "epochs": epochs, "latent_dim": latent_dim, "latents": latents, "train_box": train_box,
        "batch_size": batch_size, "n_gaussians": gaussians, "n_classes": classes, "threshold": threshold,
        "shared_resolution": resolution, "particle_diameter": diameter, "regularisation": regularisation,
        "graph_degree": 12.0 if graph == "dense" else None, "refine_poses": refine_poses,
        "invert_contrast": invert_contrast, "solver": solver,
    }  # fmt: skip
    paths = InputPaths(particles, map, mask, half_maps, atoms=model, datadir=datadir)
    run_pipeline(DYNAMIGHT, out, paths, settings, resume=resume, until=until, device=device, skip_check=skip_check)
