"""Images that points are added to: every pixel holds four numbers, one for each row that a point reaches.

A point touches 4 x 4 pixels. In an image it would take 16 additions at 16 places; here the four rows of one column
stand side by side, on 16 bytes that begin at a multiple of 16, and for compute capability 9.0 Triton adds all four in
one instruction. :func:`folded` makes an image of it: row r of a pixel's four belongs r rows below.

The additions are atomic, so that their order, and with it the last digits of an image, is not fixed.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynaflex.kernels.triton.launch import blocks_of, launch
from dynaflex.kernels.triton.spline import locate, taps
from dynaflex.shapes import Tensor

# Sixteen bytes to a pixel are read with strides: a block of a thousand reads whose lines are still in the cache.
PIXELS = tl.constexpr(256)


def empty_quads(positions: Tensor, box: int) -> Tensor:
    """Quads ``(b box box 4)`` without points, for as many images as there are ``positions``."""
    return positions.new_zeros(len(positions), box, box, 4)


@triton.jit
def spread(quads, x, y, weight, box):
    """Add points of some weight to the quads of one image."""
    corner, inside, fx, fy = locate(x, y, box)
    across, down = taps(fx), taps(fy)
    row = tl.arange(0, 4)
    rows = tl.where(row == 0, (down[0] * weight)[:, None], (down[1] * weight)[:, None])
    rows = tl.where(row == 2, (down[2] * weight)[:, None], rows)
    rows = tl.where(row == 3, (down[3] * weight)[:, None], rows)
    for column in tl.static_range(4):
        place = tl.multiple_of((corner + column) * 4, 4)
        tl.atomic_add(quads + place[:, None] + row, rows * across[column][:, None], inside[:, None], sem="relaxed")


@triton.jit(do_not_specialize=["box"])
def _fold(quads, images, box):
    blocks = tl.cdiv(box * box, PIXELS)
    start = (tl.program_id(0) // blocks).to(tl.int64) * box * box
    pixel = tl.program_id(0) % blocks * PIXELS + tl.arange(0, PIXELS)
    row = tl.arange(0, 4)
    above = pixel[:, None] - row * box
    there = (pixel < box * box)[:, None] & (above >= 0)
    four = tl.load(quads + (start + above) * 4 + row, mask=there, other=0.0)
    tl.store(images + start + pixel, tl.sum(four, axis=1), mask=pixel < box * box)


def folded(quads: Tensor) -> Tensor:
    """The images ``(b box box)`` that quads ``(b box box 4)`` stand for."""
    batch, box = quads.shape[:2]
    images = quads.new_empty(batch, box, box)
    launch(_fold, batch * blocks_of(box * box, PIXELS.value), quads, images, box)
    return images
