"""Splat and gather of points that stand for themselves."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from dynaflex.kernels.require import require_shape, require_square
from dynaflex.kernels.triton.cuda import CUDA
from dynaflex.kernels.triton.launch import blocks_of, launch
from dynaflex.kernels.triton.quads import empty_quads, folded, spread
from dynaflex.kernels.triton.spline import sample, sample_slope
from dynaflex.shapes import Tensor

# A point to a thread. Ten thousand Gaussians in sixteen images are 2,500 programs: an H100 has 132 multiprocessors.
POINTS, _WARPS = tl.constexpr(64), 2


@triton.jit
def _points_of(positions, points):
    """Image and points of this program, whether there are so many, and where they are.

    Programs side by side work on one image: its pixels stay in the caches.
    """
    blocks = tl.cdiv(points, POINTS)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    point = tl.program_id(0) % blocks * POINTS + tl.arange(0, POINTS)
    there = point < points
    x = tl.load(positions + image * 2 * points + point, mask=there, other=-4.0)
    y = tl.load(positions + image * 2 * points + points + point, mask=there, other=-4.0)
    return image, point, there, x, y


@triton.jit(do_not_specialize=["points", "box"])
def _splat(positions, weights, quads, points, box):
    image, point, there, x, y = _points_of(positions, points)
    spread(quads + image * box * box * 4, x, y, tl.load(weights + point, mask=there, other=0.0), box)


@triton.jit(do_not_specialize=["points", "box"])
def _backward(positions, weights, images, d_positions, values, points, box):
    image, point, there, x, y = _points_of(positions, points)
    value, slope_x, slope_y = sample_slope(images + image * box * box, x, y, there, box)
    weight = tl.load(weights + point, mask=there, other=0.0)
    tl.store(values + image * points + point, value, mask=there)
    tl.store(d_positions + image * 2 * points + point, weight * slope_x, mask=there)
    tl.store(d_positions + image * 2 * points + points + point, weight * slope_y, mask=there)


@triton.jit(do_not_specialize=["points", "box"])
def _gather(positions, images, values, points, box):
    image, point, there, x, y = _points_of(positions, points)
    tl.store(values + image * points + point, sample(images + image * box * box, x, y, there, box), mask=there)


@CUDA.kernel
def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.operations.splat`; atomic, see :mod:`dynaflex.kernels.triton.quads`."""
    batch, _, points = positions.shape
    require_shape("weights", weights, points)
    quads, programs = empty_quads(positions, box), batch * blocks_of(points, POINTS.value)
    inputs = (positions.contiguous(), weights.contiguous())
    launch(_splat, programs, *inputs, quads, points, box, num_warps=_WARPS)
    return folded(quads)


@CUDA.kernel
def splat_backward(positions: Tensor, weights: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`dynaflex.kernels.operations.splat_backward`; what images add to a weight is summed in their order."""
    positions, weights, images = positions.contiguous(), weights.contiguous(), images.contiguous()
    (batch, _, points), box = positions.shape, images.shape[-1]
    require_shape("weights", weights, points)
    require_square(images, batch)
    d_positions, values = torch.empty_like(positions), positions.new_empty(batch, points)
    arrays, programs = (positions, weights, images, d_positions, values), batch * blocks_of(points, POINTS.value)
    launch(_backward, programs, *arrays, points, box, num_warps=_WARPS)
    return d_positions, values.sum(dim=0)


@CUDA.kernel
def gather(positions: Tensor, images: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.operations.gather`; images are summed in their order."""
    positions, images = positions.contiguous(), images.contiguous()
    (batch, _, points), box = positions.shape, images.shape[-1]
    require_square(images, batch)
    values, programs = positions.new_empty(batch, points), batch * blocks_of(points, POINTS.value)
    launch(_gather, programs, positions, images, values, points, box, num_warps=_WARPS)
    return values.sum(dim=0)
