"""The cubic B-spline that carries a point to its 4 x 4 pixels, for the kernels that splat and gather.

An image has at least 4 x 4 pixels. A point whose 4 x 4 pixels do not all exist is not inside, and adds nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def locate(x, y, box):
    """The first pixel of points, counted through the image, whether they are inside, and their fractions of a pixel."""
    # Far and non-finite positions must not overflow the conversion to int.
    edge = box.to(tl.float32)
    x, y = tl.where(x > -4.0, x, -4.0), tl.where(y > -4.0, y, -4.0)
    x, y = tl.where(x < edge, x, edge), tl.where(y < edge, y, edge)
    floor_x, floor_y = tl.floor(x), tl.floor(y)
    first_x, first_y = floor_x.to(tl.int32) - 1, floor_y.to(tl.int32) - 1
    inside = (first_x >= 0) & (first_y >= 0) & (first_x < box - 3) & (first_y < box - 3)
    return first_y * box + first_x, inside, x - floor_x, y - floor_y


@triton.jit
def taps(f):
    """The weights of the four pixels along an axis, a fraction ``f`` of a pixel past the second."""
    g = 1.0 - f
    first, last = g * g * g * (1.0 / 6.0), f * f * f * (1.0 / 6.0)
    second = 2.0 / 3.0 - f * f * (1.0 - 0.5 * f)
    return first, second, 1.0 - first - second - last, last


@triton.jit
def slopes(f):
    """The derivatives of :func:`taps`."""
    g = 1.0 - f
    first, second, last = -0.5 * g * g, f * (1.5 * f - 2.0), 0.5 * f * f
    return first, second, -(first + second + last), last


@triton.jit
def _row(pixel, inside):
    """Four pixels side by side."""
    return (
        tl.load(pixel, mask=inside, other=0.0),
        tl.load(pixel + 1, mask=inside, other=0.0),
        tl.load(pixel + 2, mask=inside, other=0.0),
        tl.load(pixel + 3, mask=inside, other=0.0),
    )


@triton.jit
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]


@triton.jit
def sample(image, x, y, wanted, box):
    """The image at those points that are wanted, 0 outside of it."""
    corner, inside, fx, fy = locate(x, y, box)
    inside = inside & wanted
    pixel, across, down = image + corner, taps(fx), taps(fy)
    total = tl.zeros_like(x)
    for j in tl.static_range(4):
        total += down[j] * _dot(across, _row(pixel + j * box, inside))
    return total


@triton.jit
def sample_slope(image, x, y, wanted, box):
    """The image at those points that are wanted and its slopes in x and y, 0 outside of it."""
    corner, inside, fx, fy = locate(x, y, box)
    inside = inside & wanted
    pixel, across, down, across_slope, down_slope = image + corner, taps(fx), taps(fy), slopes(fx), slopes(fy)
    total, slope_x, slope_y = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    for j in tl.static_range(4):
        row = _row(pixel + j * box, inside)
        along = _dot(across, row)
        total += down[j] * along
        slope_x += down[j] * _dot(across_slope, row)
        slope_y += down_slope[j] * along
    return total, slope_x, slope_y
