"""Where every voxel of the consensus map goes in each particle, and from there into its image."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose, project
from dynaflex.shapes import Tensor

Displacement = Callable[[Tensor, Tensor], Tensor]


class VoxelField:
    """The voxels inside the sphere that fits into the box, carried by a displacement and projected into images.

    ``displacement(latents (b k), points (n 3))`` gives ``(b n 3)`` in Å and is evaluated on a grid two times coarser,
    whose even samples are voxels; what lies between is interpolated linearly, so an affine displacement is exact.
    ``None`` leaves every voxel where it is: the rigid control.
    """

    def __init__(self, grid: Grid, displacement: Displacement | None, device: torch.device) -> None:
        self.grid = grid
        self.displacement = displacement
        radius = grid.radius_of_points(device)
        self.voxels = (radius < grid.width / 2 - 2 * grid.pixel_size).nonzero()[:, 0]
        self.points = grid.points(device)[self.voxels]
        self._samples = grid.box // 2 + 1
        axis = (torch.arange(self._samples, device=device) * 2.0 - grid.center) * grid.pixel_size
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        coarse = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
        self._inside = (coarse.norm(dim=1) < grid.width / 2 + 2 * grid.pixel_size).nonzero()[:, 0]
        self._coarse = coarse[self._inside]

    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b n 2)`` in Å of the voxels, in memory as ``(b 2 n)``."""
        rigid = project(self.points, pose)
        if self.displacement is None or latents is None:
            return rigid
        moved = self.displacement(latents, self._coarse)
        flat = torch.bmm(pose.rotation[:, :2, :], moved.transpose(1, 2))
        dense = flat.new_zeros(len(latents), 2, self._samples**3)
        dense[:, :, self._inside] = flat
        dense = dense.view(len(latents), 2, self._samples, self._samples, self._samples)
        for axis in (2, 3, 4):
            dense = _twice_as_fine(dense, axis)
        box = self.grid.box
        fine = dense[:, :, :box, :box, :box].reshape(len(latents), 2, -1)[:, :, self.voxels]
        return rigid + fine.transpose(1, 2)

    def to_volume(self, values: Tensor) -> Tensor:
        """Values of the field's voxels ``(n)`` as a volume ``(d d d)``, zero elsewhere."""
        volume = values.new_zeros(self.grid.box**3)
        volume[self.voxels] = values
        return volume.view(self.grid.box, self.grid.box, self.grid.box)

    def from_volume(self, volume: Tensor) -> Tensor:
        """The field's voxels ``(n)`` of a volume ``(d d d)``."""
        return volume.reshape(-1)[self.voxels]


def _twice_as_fine(data: Tensor, axis: int) -> Tensor:
    """Insert the mean of neighbours between samples along an axis: n samples become 2 n - 1."""
    count = data.shape[axis]
    shape = list(data.shape)
    shape[axis] = 2 * count - 1
    out = data.new_empty(shape)
    low, high = data.narrow(axis, 0, count - 1), data.narrow(axis, 1, count - 1)
    every_other = [slice(None)] * data.ndim
    every_other[axis] = slice(0, None, 2)
    out[tuple(every_other)] = data
    every_other[axis] = slice(1, None, 2)
    out[tuple(every_other)] = 0.5 * (low + high)
    return out
