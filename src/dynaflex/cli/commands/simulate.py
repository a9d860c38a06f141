"""``simulate``: particles to try a run on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynaflex.cli.words import typable
from dynaflex.prepare.device import use_one_thread
from dynaflex.simulation.names import MotionName


def simulate_command(
    out: Annotated[Path, typer.Argument(help="Directory to write to.")],
    particles: Annotated[int, typer.Option(help="Number of particles.")] = 1000,
    box: Annotated[int, typer.Option(help="Box in pixels, even.")] = 64,
    pixel_size: Annotated[float, typer.Option(help="Å per pixel.")] = 3.0,
    snr: Annotated[
        float, typer.Option(help="Variance of the signal over that of the noise; 0 gives noise alone.")
    ] = 0.1,
    motion: Annotated[MotionName, typer.Option(help="How the molecule moves.")] = "hinge",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    contrast_spread: Annotated[
        float, typer.Option(help="Spread of the logarithm of the contrast; 0.3 is ice of very uneven thickness.")
    ] = 0.0,
    ramp_spread: Annotated[
        float, typer.Option(help="Spread of the rise of images over their width, in noise standard deviations.")
    ] = 0.0,
    symmetry: Annotated[
        str, typer.Option(help="Point group of an assembly whose units move each for itself: C4, D2, T, O, I.")
    ] = "C1",
    tilts: Annotated[
        int, typer.Option(help="Images of each particle in a tilt series, as RELION 5's tomography has them; 0: none.")
    ] = 0,
) -> None:
    """Make particles of a flexible molecule whose motion is known."""
    from dynaflex.prepare.simulated import simulated
    from dynaflex.run.monitor import shown

    use_one_thread()
    with shown():
        made = simulated(
            out, particles=particles, box=box, pixel_size=pixel_size, snr=snr, motion=motion, seed=seed,
            contrast_spread=contrast_spread, ramp_spread=ramp_spread, symmetry=symmetry,
            tilts=tilts,
        )  # fmt: skip
    typer.echo(f"{particles} particles in {made.particles}, map {made.map}, mask {made.mask}, truth {made.truth}")
    typer.echo(f"next: {typable('dynaflex', 'check', made.particles, '--map', made.map, '--mask', made.mask)}")
