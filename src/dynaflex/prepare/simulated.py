"""Simulated particles as a folder of results: replaced whole, and named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dynaflex.run.results import replaced
from dynaflex.simulation.names import MotionName
from dynaflex.simulation.particles import simulate


@dataclass(frozen=True)
class Simulated:
    """The files of a simulation in its ``folder``."""

    folder: Path
    tilted: bool = False

    @property
    def particles(self) -> Path:
        """The particle table, RELION 3.1, or the optimisation set of tilt series; the images lie beside it."""
        return self.folder / ("optimisation_set.star" if self.tilted else "particles.star")

    @property
    def map(self) -> Path:
        """The average over all conformations."""
        return self.folder / "consensus.mrc"

    @property
    def mask(self) -> Path:
        """A soft mask around all conformations."""
        return self.folder / "mask.mrc"

    @property
    def truth(self) -> Path:
        """What was simulated, for scores."""
        return self.folder / "truth.npz"


def simulated(
    out: Path,
    *,
    particles: int,
    box: int,
    pixel_size: float,
    snr: float,
    motion: MotionName,
    seed: int,
    contrast_spread: float,
    ramp_spread: float,
    symmetry: str = "C1",
    tilts: int = 0,
) -> Simulated:
    """Simulate into the folder ``out``, in place of what was simulated there before.

    Raises:
        UsageError: impossible arguments, or a file of another's would be replaced.
        ResourceError, EnvironmentFault: the folder cannot be written to.
    """
    with replaced(out, "simulation") as staging:
        simulate(staging, particles, box, pixel_size, snr, motion, seed, contrast_spread, ramp_spread, symmetry, tilts)
    return Simulated(out, tilts > 0)
