"""What every density is: weighted points, and how one point looks."""

from __future__ import annotations

from abc import abstractmethod

import torch

from dynaflex.grid import Grid
from dynaflex.kernels import MeshTable
from dynaflex.shapes import Tensor


class Density(torch.nn.Module):
    """Weighted points that a deformation can carry.

    ``table`` is None where the deformation moves the weighted points themselves; otherwise it moves the vertices of a
    mesh, and the table says how they carry the points.
    """

    @property
    def table(self) -> MeshTable | None:
        """How a mesh carries the weighted points; None where there is no mesh."""
        return None

    @abstractmethod
    def points(self) -> Tensor:
        """What the deformation moves, at rest: the points, or the vertices that carry them, ``(n 3)`` in Å."""

    @abstractmethod
    def weights(self, grid: Grid) -> Tensor:
        """Masses ``(c n)`` in map units times voxels of ``grid``."""

    @abstractmethod
    def widths(self) -> Tensor:
        """How far one point of each class is spread: ``exp(-|x|²/s)``, s in Å², ``(c)``."""

    @abstractmethod
    def volume(self, grid: Grid) -> Tensor:
        """The density at rest as a map ``(d d d)`` on a grid, band-limited to it."""

    @abstractmethod
    def home(self) -> Tensor:
        """All that the density fills, as points ``(n 3)`` in Å: near them a motion means something."""

    @abstractmethod
    def landmarks(self) -> Tensor:
        """Points ``(n 3)`` inside the density at which its motion is reported."""
