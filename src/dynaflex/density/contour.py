"""The level at which a map shows its molecule: one for scripts, pictures and the explorer."""

from __future__ import annotations

from dataclasses import dataclass

from dynaflex import fourier
from dynaflex.density.placement import automatic_threshold
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class Coarse:
    """A map low-passed so far that noise cannot pass for molecule, ``volume`` ``(d d d)``, and the ``threshold`` of
    the molecule in it."""

    volume: Tensor
    threshold: float

    @classmethod
    def of(cls, volume: Tensor, grid: Grid, resolution: float) -> Coarse:
        """A map ``(d d d)`` seen at ``resolution`` Å, or at 4 voxels where that is finer."""
        low = fourier.low_pass(volume, grid, max(resolution, 4.0 * grid.pixel_size))
        return cls(low, automatic_threshold(low))

    @property
    def filled(self) -> int:
        """How many voxels the molecule fills."""
        return int((self.volume > self.threshold).sum())


def level_enclosing(volume: Tensor, voxels: int) -> float:
    """The level that so many voxels of a map ``(d d d)`` are above: a noisy map and a clean one show as much."""
    return float(volume.flatten().kthvalue(max(volume.numel() - voxels, 1)).values)
