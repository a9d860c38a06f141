"""Splat and gather of points that a mesh carries.

A program has one group of a :class:`~dynaflex.kernels.mesh_table.MeshTable` in one image, a lane to a thread: it blends
the vertices of its tetrahedron once and then goes down its rows.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from dynaflex.kernels import tetrahedra
from dynaflex.kernels.require import require_shape, require_square
from dynaflex.kernels.triton.corners import sum_at_vertices
from dynaflex.kernels.triton.cuda import CUDA
from dynaflex.kernels.triton.launch import launch
from dynaflex.kernels.triton.quads import empty_quads, folded, spread
from dynaflex.kernels.triton.spline import sample, sample_slope
from dynaflex.shapes import Tensor

LANES = tl.constexpr(tetrahedra.LANES)

# In a box of 64 a group has ten rows: by fours a sixth of the places stays empty, by eights three eighths.
ROWS = tl.constexpr(4)
_WARPS = ROWS.value * LANES.value // 32

# So many images share the buffers of a backward pass: 64 bytes for every point. With 300 groups, as in a box of 64,
# they are 5,000 programs, more than the 132 multiprocessors of an H100 hold at once.
_IMAGES = 16


@triton.jit
def _edge(positions, vertices, k, first_x, first_y):
    """From the first vertex of the lanes' tetrahedra to vertex k."""
    vertex = tl.load(vertices + k * LANES)
    return tl.load(positions + 2 * vertex) - first_x, tl.load(positions + 2 * vertex + 1) - first_y


@triton.jit
def _blended(positions, vertices, blend):
    """The affine maps of lanes: for x and for y three steps and the origin.

    Differences to the first vertex keep rounding errors as small as the tetrahedron, not as large as the image.
    """
    first = tl.load(vertices)
    first_x, first_y = tl.load(positions + 2 * first), tl.load(positions + 2 * first + 1)
    ax, ay = _edge(positions, vertices, 1, first_x, first_y)
    bx, by = _edge(positions, vertices, 2, first_x, first_y)
    cx, cy = _edge(positions, vertices, 3, first_x, first_y)
    map_x, map_y = (), ()
    for column in tl.static_range(4):
        a = tl.load(blend + column * LANES)
        b = tl.load(blend + (4 + column) * LANES)
        c = tl.load(blend + (8 + column) * LANES)
        map_x, map_y = map_x + (ax * a + bx * b + cx * c,), map_y + (ay * a + by * b + cy * c,)
    return (map_x[0], map_x[1], map_x[2], map_x[3] + first_x), (map_y[0], map_y[1], map_y[2], map_y[3] + first_y)


@triton.jit
def _group(positions, vertices, blend, offsets, groups, nodes):
    """Image, first row and end of this program's group, and the maps of the lanes of its threads.

    Programs side by side work on one image: its pixels and vertices stay in the caches.
    """
    image, group = (tl.program_id(0) // groups).to(tl.int64), tl.program_id(0) % groups
    lane = tl.arange(0, ROWS * LANES) % LANES
    start, end = tl.load(offsets + group).to(tl.int32), tl.load(offsets + group + 1).to(tl.int32)
    ours = positions + image * 2 * nodes
    map_x, map_y = _blended(ours, vertices + group * 4 * LANES + lane, blend + group * 12 * LANES + lane)
    return image, start, end, map_x, map_y


@triton.jit
def _carried(steps, row, end, map_x, map_y):
    """Slots of the points in the rows from ``row`` on, whether there are so many, their steps, and where they are."""
    thread = tl.arange(0, ROWS * LANES)
    rows, lane = row + thread // LANES, thread % LANES
    there, step = rows < end, steps + rows * 3 * LANES + lane
    i = tl.load(step, mask=there, other=0).to(tl.float32)
    j = tl.load(step + LANES, mask=there, other=0).to(tl.float32)
    k = tl.load(step + 2 * LANES, mask=there, other=0).to(tl.float32)
    x = map_x[0] * i + map_x[1] * j + map_x[2] * k + map_x[3]
    y = map_y[0] * i + map_y[1] * j + map_y[2] * k + map_y[3]
    return rows * LANES + lane, there, (i, j, k), x, y


@triton.jit(do_not_specialize=["groups", "nodes", "box"])
def _splat(positions, vertices, blend, steps, offsets, weights, quads, groups, nodes, box):
    image, start, end, map_x, map_y = _group(positions, vertices, blend, offsets, groups, nodes)
    quads += image * box * box * 4
    for row in range(start, end, ROWS):
        slot, there, _, x, y = _carried(steps, row, end, map_x, map_y)
        spread(quads, x, y, tl.load(weights + slot, mask=there, other=0.0), box)


@triton.jit(do_not_specialize=["groups", "nodes", "box", "slots"])
def _gather(positions, vertices, blend, steps, offsets, images, values, groups, nodes, box, slots):
    image, start, end, map_x, map_y = _group(positions, vertices, blend, offsets, groups, nodes)
    for row in range(start, end, ROWS):
        slot, there, _, x, y = _carried(steps, row, end, map_x, map_y)
        tl.store(values + image * slots + slot, sample(images + image * box * box, x, y, there, box), mask=there)


@triton.jit
def _lane_sum(values):
    return tl.sum(tl.reshape(values, (ROWS, LANES)), axis=0)


@triton.jit
def _store_corners(parts, blend, sum_i, sum_j, sum_k, sum_1):
    """The adjoint of :func:`_blended` along one axis: what each of the four corners adds to its vertex."""
    i, j, k, origin = _lane_sum(sum_i), _lane_sum(sum_j), _lane_sum(sum_k), _lane_sum(sum_1)
    first = origin
    for corner in tl.static_range(3):
        place = blend + corner * 4 * LANES
        other = i * tl.load(place) + j * tl.load(place + LANES)
        other += k * tl.load(place + 2 * LANES) + origin * tl.load(place + 3 * LANES)
        tl.store(parts + (corner + 1) * LANES, other)
        first -= other
    tl.store(parts, first)


@triton.jit(do_not_specialize=["groups", "nodes", "box", "slots"])
def _backward(
    positions, vertices, blend, steps, offsets, weights, images, values, parts, groups, nodes, box, slots
):  # fmt: skip
    image, start, end, map_x, map_y = _group(positions, vertices, blend, offsets, groups, nodes)
    images += image * box * box
    zero = tl.zeros([ROWS * LANES], tl.float32)
    xi, xj, xk, x1, yi, yj, yk, y1 = zero, zero, zero, zero, zero, zero, zero, zero
    for row in range(start, end, ROWS):
        slot, there, step, x, y = _carried(steps, row, end, map_x, map_y)
        value, slope_x, slope_y = sample_slope(images, x, y, there, box)
        tl.store(values + image * slots + slot, value, mask=there)
        weight = tl.load(weights + slot, mask=there, other=0.0)
        slope_x, slope_y = slope_x * weight, slope_y * weight
        xi, xj, xk, x1 = xi + slope_x * step[0], xj + slope_x * step[1], xk + slope_x * step[2], x1 + slope_x
        yi, yj, yk, y1 = yi + slope_y * step[0], yj + slope_y * step[1], yk + slope_y * step[2], y1 + slope_y
    group, lane, corners = tl.program_id(0) % groups, tl.arange(0, LANES), groups * 4 * LANES
    blend += group * 12 * LANES + lane
    parts += image * 2 * corners + group * 4 * LANES + lane
    _store_corners(parts, blend, xi, xj, xk, x1)
    _store_corners(parts + corners, blend, yi, yj, yk, y1)


@CUDA.kernel
def mesh_splat(
    positions: Tensor, weights: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor, box: int
) -> Tensor:
    """See :func:`dynaflex.kernels.operations.mesh_splat`; atomic, see :mod:`dynaflex.kernels.triton.quads`."""
    require_shape("weights", weights, len(steps) * LANES.value)
    (batch, nodes, _), groups = positions.shape, len(vertices)
    quads, table = empty_quads(positions, box), (vertices, blend, steps, offsets)
    arrays = (positions.contiguous(), *table, weights.contiguous(), quads)
    launch(_splat, batch * groups, *arrays, groups, nodes, box, num_warps=_WARPS)
    return folded(quads)


@CUDA.kernel
def mesh_splat_backward(
    positions: Tensor, weights: Tensor, images: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """See :func:`dynaflex.kernels.operations.mesh_splat_backward`; every sum has its order."""
    positions, weights, images = positions.contiguous(), weights.contiguous(), images.contiguous()
    require_shape("weights", weights, len(steps) * LANES.value)
    require_square(images, len(positions))
    (batch, nodes, _), groups, slots = positions.shape, len(vertices), len(weights)
    d_positions, d_weights = torch.empty_like(positions), torch.zeros_like(weights)
    for start in range(0, batch, _IMAGES):
        some = slice(start, start + _IMAGES)
        count = len(positions[some])
        values, parts = weights.new_empty(count, slots), weights.new_empty(count, 2, vertices.numel())
        arrays = (positions[some], vertices, blend, steps, offsets, weights, images[some], values, parts)
        launch(_backward, count * groups, *arrays, groups, nodes, images.shape[-1], slots, num_warps=_WARPS)
        sum_at_vertices(parts, vertices, d_positions[some].transpose(1, 2))
        d_weights += values.sum(dim=0)
    return d_positions, d_weights


@CUDA.kernel
def mesh_gather(
    positions: Tensor, images: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor
) -> Tensor:
    """See :func:`dynaflex.kernels.operations.mesh_gather`; images are summed in their order."""
    positions, images = positions.contiguous(), images.contiguous()
    require_square(images, len(positions))
    (batch, nodes, _), groups, slots = positions.shape, len(vertices), len(steps) * LANES.value
    totals = positions.new_zeros(slots)
    for start in range(0, batch, _IMAGES):
        some = slice(start, start + _IMAGES)
        values = positions.new_empty(len(positions[some]), slots)
        arrays = (positions[some], vertices, blend, steps, offsets, images[some], values)
        launch(_gather, len(values) * groups, *arrays, groups, nodes, images.shape[-1], slots, num_warps=_WARPS)
        totals += values.sum(dim=0)
    return totals
