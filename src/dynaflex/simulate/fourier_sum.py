"""Exact Fourier sums over atoms: the ground truth of the simulator.

Nothing here is shared with the forward model under test. Atoms are never put on a grid: every coefficient is
``sum_j w_j exp(-2 pi i k x_j)``, which factorises over the axes and so is a matrix product. The coefficients at the
Nyquist frequency of an even box, which a sampled image cannot tell from their negatives, are zero.
"""

from __future__ import annotations

import math

import torch

from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

ATOMS_AT_ONCE = 4096


def image_coefficients(points: Tensor, grid: Grid) -> Tensor:
    """The rfft of images of unit point atoms at ``points`` ``(b n 2)`` (x, y) in Å, as complex64 ``(b h w)``."""
    x = _waves(points[..., 0], _half_axis(grid), grid)
    y = _waves(points[..., 1], _full_axis(grid), grid)
    return y @ x.transpose(-1, -2)


def volume_coefficients(points: Tensor, weights: Tensor, grid: Grid) -> Tensor:
    """The rfft of the volume of point atoms at ``points`` ``(n 3)`` in Å with ``weights`` ``(n)``, as ``(d d w)``."""
    box = grid.box
    total = torch.zeros(box * box, box // 2 + 1, dtype=torch.complex64)
    for start in range(0, len(points), ATOMS_AT_ONCE):
        some = slice(start, start + ATOMS_AT_ONCE)
        x = _waves(points[some, 0], _half_axis(grid), grid)
        y = _waves(points[some, 1], _full_axis(grid), grid)
        z = _waves(points[some, 2], _full_axis(grid), grid) * weights[some].to(torch.complex64)
        for row in range(box):
            total[row * box : (row + 1) * box] += (y * z[row]) @ x.T
    return total.view(box, box, -1)


def gaussian_envelope(grid: Grid, dim: int, sigma: float) -> Tensor:
    """The rfft of a normalised ``dim``-dimensional Gaussian of standard deviation ``sigma`` Å at the origin."""
    radius = grid.radius(dim) / grid.width
    return torch.exp(-2.0 * math.pi**2 * sigma**2 * radius.square())


def _half_axis(grid: Grid) -> Tensor:
    return torch.arange(grid.box // 2 + 1, dtype=torch.float64)


def _full_axis(grid: Grid) -> Tensor:
    index: Tensor = torch.fft.fftfreq(grid.box, 1.0 / grid.box, dtype=torch.float64)
    return index


def _waves(position: Tensor, index: Tensor, grid: Grid) -> Tensor:
    """``exp(-2 pi i k x)`` for positions ``(... n)`` and frequencies ``index`` ``(m)``, as complex64 ``(... m n)``.

    Whole turns are taken off in float64, so that single precision is enough for the rest.
    """
    turns = index[:, None] * (position.to(torch.float64) / grid.width)[..., None, :]
    angle = (-2.0 * math.pi * (turns - turns.round())).to(torch.float32)
    paired = (2.0 * index.abs() != grid.box).to(torch.float32)[:, None]
    return torch.polar(paired.expand_as(angle).contiguous(), angle)
