"""``simulate``: particles to try a run on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from dynaflex.run.monitor import shown
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

    with shown():
        simulate(out, particles=particles, box=box, pixel_size=pixel_size, snr=snr, motion=motion, seed=seed)
    typer.echo(
        f"{particles} particles in {out / 'particles.star'}, map {out / 'consensus.mrc'}, truth {out / 'truth.npz'}"
    )
