"""``simulate`` and ``check``: before a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from dynaflex.data.preflight import check_inputs
from dynaflex.errors import InputError
from dynaflex.simulate.molecule import MOTIONS


def simulate_command(
    out: Annotated[Path, typer.Argument(help="Directory to write to.")],
    particles: Annotated[int, typer.Option(help="Number of particles.")] = 1000,
    box: Annotated[int, typer.Option(help="Box in pixels, even.")] = 64,
    pixel_size: Annotated[float, typer.Option(help="Å per pixel.")] = 3.0,
    snr: Annotated[
        float, typer.Option(help="Variance of the signal over that of the noise; 0 gives noise alone.")
    ] = 0.1,
    motion: Annotated[str, typer.Option(help=f"One of {', '.join(MOTIONS)}.")] = "hinge",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
) -> None:
    """Make particles of a flexible molecule whose motion is known."""
    from dynaflex.simulate.particles import simulate

    # Torch's threads wait for each other on tensors of this size; see pick_device.
    torch.set_num_threads(1)

    simulate(out, particles=particles, box=box, pixel_size=pixel_size, snr=snr, motion=motion, seed=seed)
    typer.echo(
        f"{particles} particles in {out / 'particles.star'}, map {out / 'consensus.mrc'}, truth {out / 'truth.npz'}"
    )


def check_command(
    particles: Annotated[Path, typer.Argument(help="RELION STAR file.")],
    map: Annotated[Path | None, typer.Option("--map", help="Consensus map, .mrc.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="Mask, .mrc.")] = None,
    datadir: Annotated[Path | None, typer.Option(help="Where to look for image files.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
) -> None:
    """Read everything, compare it, and say what is wrong before any training."""
    report = check_inputs(particles, map, mask, datadir, True)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        for name, value in report.facts.items():
            typer.echo(f"{name}: {value}")
        for warning in report.warnings:
            typer.echo(f"warning: {warning}")
        for problem in report.problems:
            typer.echo(f"error: {problem}")
        typer.echo("nothing wrong found" if report.ok else f"{len(report.problems)} problems")
    if not report.ok:
        raise typer.Exit(InputError.exit_code)
