"""What every density is: weighted points, and how one point looks."""

from __future__ import annotations

from abc import abstractmethod

import torch

from dynaflex.grid import Grid
from dynaflex.shapes import Tensor


class Density(torch.nn.Module):
    """Weighted points that a deformation can carry."""

    @abstractmethod
    def points(self) -> Tensor:
        """Positions in the consensus frame ``(n 3)``, Å."""

    @abstractmethod
    def weights(self, grid: Grid) -> Tensor:
        """Masses ``(c n)`` in map units times voxels of ``grid``."""

    @abstractmethod
    def widths(self) -> Tensor:
        """How far one point of each class is spread: ``exp(-|x|²/s)``, s in Å², ``(c)``."""
