"""Tetrahedra on the voxels of a map: which cell carries a voxel, and which cells touch a region.

A cell cuts each line of voxels in one interval, so that cells are rasterised line by line rather than voxel by voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dynaflex.grid import Grid
from dynaflex.mesh.search import TOLERANCE, ranges
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Tensor


def cell_of_voxels(mesh: TetMesh, grid: Grid, labels: Tensor | None = None) -> Tensor:
    """The cell that carries each voxel, ``(d d d)`` int64 ``[z, y, x]``, or -1 where there is none.

    A voxel is where its centre is; on a face, or where cells lie over each other, it belongs to the first cell. With
    ``labels`` ``(d d d)`` int a voxel labelled s goes only into cells of segment s.
    """
    none = len(mesh.cells)
    found = torch.full((grid.box**3,), none, dtype=torch.int64, device=mesh.cells.device)
    lines = _lines(mesh, grid, margin=0.0)
    offset, line = ranges(lines.last - lines.first + 1)
    voxel = (lines.z * grid.box + lines.y)[line] * grid.box + lines.first[line] + offset
    cell = lines.cell[line]
    if labels is not None:
        own = labels.reshape(-1).to(cell.device)[voxel] == mesh.segment[cell]
        voxel, cell = voxel[own], cell[own]
    found.scatter_reduce_(0, voxel, cell, "amin")
    return torch.where(found == none, -1, found).reshape(grid.box, grid.box, grid.box)


def cells_touching(mesh: TetMesh, where: Tensor, grid: Grid) -> Tensor:
    """Which cells reach into the cubes of the voxels ``where`` ``(d d d)`` bool is true, ``(t)`` bool.

    A cell may be counted that misses such a cube by a fraction of a voxel; none is forgotten, so that the cells of a
    region also hold all its voxels at a finer sampling.
    """
    lines = _lines(mesh, grid, margin=0.5 * grid.pixel_size)
    before = torch.nn.functional.pad(where.to(mesh.cells.device).long().cumsum(dim=2), (1, 0))
    count = before[lines.z, lines.y, lines.last + 1] - before[lines.z, lines.y, lines.first]
    touched = torch.zeros(len(mesh.cells), dtype=torch.bool, device=mesh.cells.device)
    touched[lines.cell[count > 0]] = True
    return touched


@dataclass(frozen=True)
class _Lines:
    """Where cells cut lines of voxels along x: ``cell`` holds the voxels ``first`` to ``last`` of line (z, y)."""

    cell: Tensor
    z: Tensor
    y: Tensor
    first: Tensor
    last: Tensor


def _lines(mesh: TetMesh, grid: Grid, margin: float) -> _Lines:
    """Every non-empty cut; with a ``margin`` in Å, of the voxels whose cube of that half-width reaches the cell."""
    gradients, offsets = mesh.shape_functions()
    corners = mesh.vertices.double()[mesh.cells]
    slack = margin + 1e-6 * grid.pixel_size
    low = ((corners.amin(dim=1) - slack) / grid.pixel_size).ceil().long() + grid.center
    high = ((corners.amax(dim=1) + slack) / grid.pixel_size).floor().long() + grid.center
    low, high = low.clamp(min=0), high.clamp(max=grid.box - 1)
    size = (high - low + 1).clamp(min=0)
    row, cell = ranges(size[:, 1] * size[:, 2] * (size[:, 0] > 0))
    y, z = low[cell, 1] + row % size[cell, 1], low[cell, 2] + row // size[cell, 1]
    first, last = low[cell, 0], high[cell, 0]
    for corner in range(4):
        along_x, along_y, along_z = (grid.pixel_size * gradients[:, corner]).unbind(dim=1)
        reach = margin * gradients[:, corner].abs().sum(dim=1) + TOLERANCE + offsets[:, corner]
        rest = along_y[cell] * (y - grid.center) + along_z[cell] * (z - grid.center) + reach[cell]
        slope = along_x[cell]
        zero = (-rest / slope).clamp(-grid.box, grid.box).nan_to_num(0.0) + grid.center
        first = torch.where(slope > 0, torch.maximum(first, zero.ceil().long()), first)
        last = torch.where(slope < 0, torch.minimum(last, zero.floor().long()), last)
        last = torch.where((slope == 0) & (rest < 0), first - 1, last)
    cut = first <= last
    return _Lines(cell[cut], z[cut], y[cut], first[cut], last[cut])
