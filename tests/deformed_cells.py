"""Cells that tests deform: unit corners that share no vertex, and deformations that leave a rotation undetermined."""

from __future__ import annotations

import torch

from dynaflex.kernels import RigidityTable
from dynaflex.shapes import Tensor

DEGENERATE = {
    "nothing": [0.0, 0.0, 0.0],
    "hardly anything": [1e-12, 1e-12, 1e-12],
    "a line": [1.0, 0.0, 0.0],
    "a plane": [1.0, 1.0, 0.0],
    "a mirror": [1.0, 1.0, -1.0],
    "nearly a mirror": [1.0, 1.0, -1.0 + 1e-6],
    "a point reflection": [-1.0, -1.0, -1.0],
    "equal values": [2.0, 1.0, 1.0],
    "a huge needle": [1e4, 1e-4, -1e-4],
}


def separate_cells(count: int) -> tuple[Tensor, RigidityTable]:
    """Unit corners that share no vertex, so that each can be given any deformation: vertices ``(4 t 3)`` and table."""
    corner = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    vertices = corner.repeat(count, 1)
    cells = torch.arange(4 * count).view(count, 4)
    return vertices, RigidityTable(vertices, cells, torch.ones(count))


def deformed(vertices: Tensor, F: Tensor) -> Tensor:
    """Positions ``(1 3 v)`` of :func:`separate_cells` where cell i has the deformation gradient F[i]."""
    return torch.einsum("tij,tkj->tki", F, vertices.view(len(F), 4, 3)).reshape(1, -1, 3).transpose(1, 2)
