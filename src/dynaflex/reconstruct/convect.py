"""Carrying a map along a deformation: what a conformation looks like."""

from __future__ import annotations

import torch

from dynaflex.grid import Grid
from dynaflex.reconstruct.field import Displacement
from dynaflex.shapes import Tensor

_POINTS_AT_ONCE = 65536


@torch.no_grad()
def convect(volume: Tensor, grid: Grid, displacement: Displacement, latents: Tensor) -> Tensor:
    """The map ``(d d d)`` with every voxel moved by ``displacement`` in the conformation ``latents`` ``(k)``.

    Voxels are spread linearly over the eight around their destination, and divided by how much arrives there of a map
    of ones: density is carried along, not piled up where the field contracts. Where nothing arrives the map is 0.
    """
    carried = volume.new_zeros(2, grid.box**3)
    everywhere = grid.points(volume.device)
    values = volume.reshape(-1)
    for part in torch.arange(len(everywhere), device=volume.device).split(_POINTS_AT_ONCE):
        points = everywhere[part]
        moved = points + displacement(latents[None], points)[0]
        position = moved / grid.pixel_size + grid.center
        corner = position.floor()
        fraction = position - corner
        for offset in range(8):
            step = torch.tensor([offset & 1, offset >> 1 & 1, offset >> 2], device=volume.device)
            index = corner.long() + step
            weight = torch.where(step.bool(), fraction, 1.0 - fraction).prod(dim=1)
            inside = ((index >= 0) & (index < grid.box)).all(dim=1)
            x, y, z = index[inside].T
            flat = (z * grid.box + y) * grid.box + x
            carried[0].index_add_(0, flat, (weight * values[part])[inside])
            carried[1].index_add_(0, flat, weight[inside])
    density = torch.where(carried[1] > 1e-3, carried[0] / carried[1].clamp(min=1e-3), 0.0)
    return density.view(grid.box, grid.box, grid.box)
