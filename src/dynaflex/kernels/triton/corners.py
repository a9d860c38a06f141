"""Sums over the corners of cells that meet at a vertex, in a fixed order.

Kernels leave what every corner adds, and here each vertex fetches its own: no atomics, and the same bits in every call.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.utils.weak import WeakIdKeyDictionary

from dynaflex.kernels.triton.launch import blocks_of, launch
from dynaflex.shapes import Tensor

# About 24 tetrahedra meet at a vertex inside a regular lattice.
VERTICES, MEETING = tl.constexpr(8), tl.constexpr(32)

_orders = WeakIdKeyDictionary()


@triton.jit(do_not_specialize=["nodes", "corners", "image_stride", "axis_stride", "vertex_stride"])
def _sum(
    parts, order, starts, totals, nodes, corners, image_stride, axis_stride, vertex_stride,
    AXES: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(nodes, VERTICES)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    vertex = tl.program_id(0) % blocks * VERTICES + tl.arange(0, VERTICES)
    known = vertex < nodes
    start = tl.load(starts + vertex, mask=known, other=0)
    end = tl.load(starts + vertex + 1, mask=known, other=0)
    most = tl.max(end - start, axis=0)
    for axis in tl.static_range(AXES):
        ours = parts + (image * AXES + axis) * corners
        total = tl.zeros([VERTICES], tl.float32)
        for met in range(0, most, MEETING):
            place = start[:, None] + met + tl.arange(0, MEETING)
            here = place < end[:, None]
            corner = tl.load(order + place, mask=here, other=0)
            total += tl.sum(tl.load(ours + corner, mask=here, other=0.0), axis=1)
        tl.store(totals + image * image_stride + axis * axis_stride + vertex * vertex_stride, total, mask=known)


def sum_at_vertices(parts: Tensor, vertices: Tensor, totals: Tensor) -> None:
    """Fill ``totals`` ``(b a v)``, of any strides, with the sums of ``parts`` ``(b a c)`` over the corners at a vertex.

    ``vertices``, of c elements in whatever shape, says which vertex a corner is.
    """
    batch, axes, nodes = totals.shape
    order, starts = _order(vertices, nodes)
    launch(
        _sum, batch * blocks_of(nodes, VERTICES.value), parts, order, starts, totals, nodes, vertices.numel(),
        *totals.stride(), AXES=axes,
    )  # fmt: skip


def _order(vertices: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """The corners sorted by vertex, and where each vertex begins among them, ``(v + 1)``; sorted once for a table."""
    if vertices not in _orders:
        meeting, order = vertices.flatten().sort(stable=True)
        starts = torch.searchsorted(meeting, torch.arange(nodes + 1, dtype=meeting.dtype, device=meeting.device))
        _orders[vertices] = order.to(torch.int32), starts.to(torch.int32)
    return _orders[vertices]
