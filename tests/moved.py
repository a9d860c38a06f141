"""A field for tests: every voxel goes exactly where it is said to go."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose, project
from dynaflex.reconstruct.field import Field, Region
from dynaflex.shapes import Tensor

Displacement = Callable[[Tensor, Tensor], Tensor]
"""``displacement(latents (b k), points (n 3))`` are the displacements ``(b n 3)`` in Å."""


class MovedField(Field):
    """The voxels of a sphere, or of a region, each moved by a displacement; by None not at all."""

    def __init__(self, grid: Grid, displacement: Displacement | None = None, region: Region | None = None) -> None:
        super().__init__(Region.sphere(grid, torch.device("cpu")) if region is None else region)
        self.displacement = displacement

    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        points = self.region.points
        if latents is None or self.displacement is None:
            return project(points, pose)
        return project(points + self.displacement(latents, points), pose)
