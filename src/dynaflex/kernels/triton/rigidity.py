"""The rigidity energy of a mesh and its gradient, a cell to a thread."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from dynaflex.kernels import tetrahedra
from dynaflex.kernels.require import require_shape
from dynaflex.kernels.triton.corners import sum_at_vertices
from dynaflex.kernels.triton.cuda import CUDA
from dynaflex.kernels.triton.launch import blocks_of, launch
from dynaflex.kernels.triton.rotation import nearest_rotation, norm2
from dynaflex.shapes import Tensor

LANES = tl.constexpr(tetrahedra.LANES)

# A cell takes about a hundred registers: blocks are small. 5,000 cells of 16 meshes are 1,300 programs.
CELLS, _WARPS = tl.constexpr(64), 2


@triton.jit
def _edges(positions, vertices, there):
    """Along one axis, from the first corner of cells to the others."""
    first = tl.load(positions + tl.load(vertices, mask=there, other=0))
    a = tl.load(positions + tl.load(vertices + LANES, mask=there, other=0)) - first
    b = tl.load(positions + tl.load(vertices + 2 * LANES, mask=there, other=0)) - first
    c = tl.load(positions + tl.load(vertices + 3 * LANES, mask=there, other=0)) - first
    return a, b, c


@triton.jit(do_not_specialize=["cells", "nodes"])
def _rigidity(positions, vertices, inverse_edges, weights, energies, parts, cells, nodes):
    blocks = tl.cdiv(cells, CELLS)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    cell = tl.program_id(0) % blocks * CELLS + tl.arange(0, CELLS)
    there, group, lane = cell < cells, cell // LANES, cell % LANES
    corner = group * 4 * LANES + lane
    inverse, F = (), ()
    for i in tl.static_range(9):
        inverse = inverse + (tl.load(inverse_edges + (group * 9 + i) * LANES + lane, mask=there, other=0.0),)
    for axis in tl.static_range(3):
        a, b, c = _edges(positions + (image * 3 + axis) * nodes, vertices + corner, there)
        for j in tl.static_range(3):
            F = F + (a * inverse[j] + b * inverse[3 + j] + c * inverse[6 + j],)
    R, strain = nearest_rotation(F), ()
    for i in tl.static_range(9):
        strain = strain + (F[i] - R[i],)
    weight = tl.load(weights + cell, mask=there, other=0.0)
    tl.store(energies + tl.program_id(0), tl.sum(weight * norm2(strain), axis=0))
    for axis in tl.static_range(3):
        part = parts + (image * 3 + axis) * (cells * 4) + corner
        first = tl.zeros([CELLS], tl.float32)
        for k in tl.static_range(3):
            other = strain[3 * axis] * inverse[3 * k] + strain[3 * axis + 1] * inverse[3 * k + 1]
            other = 2.0 * weight * (other + strain[3 * axis + 2] * inverse[3 * k + 2])
            tl.store(part + (k + 1) * LANES, other, mask=there)
            first -= other
        tl.store(part, first, mask=there)


@CUDA.kernel
def rigidity(positions: Tensor, vertices: Tensor, inverse_edges: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`dynaflex.kernels.operations.rigidity`; sums have their order."""
    positions = positions.contiguous()
    batch, axes, nodes = positions.shape
    require_shape("positions", positions, batch, 3, nodes)
    cells, gradient = weights.numel(), torch.empty_like(positions)
    energies = positions.new_empty(batch, blocks_of(cells, CELLS.value))
    parts = positions.new_empty(batch, axes, vertices.numel())
    arrays = (positions, vertices, inverse_edges, weights, energies, parts)
    launch(_rigidity, energies.numel(), *arrays, cells, nodes, num_warps=_WARPS)
    sum_at_vertices(parts, vertices, gradient)
    return energies.sum(dim=1, dtype=torch.float64).float(), gradient
