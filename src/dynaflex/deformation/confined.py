"""A deformation of a part of the molecule: the asymmetric unit of an assembly, beside which everything keeps still."""

from __future__ import annotations

import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.deformation.lattice import OnLattice
from dynaflex.shapes import Tensor


class Confined(OnLattice):
    """A deformation on a lattice, times the weight that the ``unit`` ``(d d d)`` has where a point rests.

    The unit's voxels fill a box ``width`` Å wide, with the origin at voxel ``d // 2``.
    """

    unit: Tensor
    width: Tensor

    def __init__(self, network: Deformation, spacing: float, unit: Tensor, width: float) -> None:
        super().__init__(network, spacing)
        self.register_buffer("unit", unit)
        self.register_buffer("width", torch.tensor(width))

    def at(self, points: Tensor) -> Moves:
        """What maps latents to the displacements of points ``(n 3)``."""
        moves, weight = super().at(points), self.weight(points)[:, None]
        return lambda latents: moves(latents) * weight

    def weight(self, points: Tensor) -> Tensor:
        """The weight of the unit ``(n)`` at points ``(n 3)``: 1 well inside of it, 0 beyond the cuts and the box."""
        box = self.unit.shape[-1]
        voxel = points * (box / self.width) + box // 2
        place = (voxel * (2.0 / (box - 1)) - 1.0).view(1, 1, 1, -1, 3)
        read = torch.nn.functional.grid_sample(self.unit[None, None], place, align_corners=True)
        return read.view(-1)
