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


def image_coefficients(points: Tensor, weights: Tensor, grid: Grid) -> Tensor:
    """The rfft of images of point atoms at ``points`` ``(b n 2)`` (x, y) in Å with ``weights`` ``(n)``, as complex64
    ``(b h w)``."""
    x, y = _waves(points[..., 0], grid, weights), _waves(points[..., 1], grid)
    return _both_signs(*_products(y, x))


def volume_coefficients(points: Tensor, weights: Tensor, grid: Grid) -> Tensor:
    """The rfft of the volume of point atoms at ``points`` ``(n 3)`` in Å with ``weights`` ``(n)``, as ``(d d w)``."""
    box = grid.box
    total = torch.zeros(box, box, box // 2 + 1, dtype=torch.complex64)
    for start in range(0, len(points), ATOMS_AT_ONCE):
        some = slice(start, start + ATOMS_AT_ONCE)
        x = _waves(points[some, 0], grid, weights[some])
        y, z = (_waves(points[some, axis], grid) for axis in (1, 2))
        for plane in range(box // 2):
            wave = z[:, plane, None]
            here, opposite = _products(y * wave, x)
            beside, below = _products(y.conj() * wave, x)
            total[plane] += _both_signs(here, beside)
            if plane > 0:
                total[-plane] += _both_signs(below, opposite)
    return total


def gaussian_envelope(grid: Grid, dim: int, sigma: float) -> Tensor:
    """The rfft of a normalised ``dim``-dimensional Gaussian of standard deviation ``sigma`` Å at the origin."""
    radius = grid.radius(dim) / grid.width
    return torch.exp(-2.0 * math.pi**2 * sigma**2 * radius.square())


def _waves(position: Tensor, grid: Grid, weights: Tensor | None = None) -> Tensor:
    """``w exp(-2 pi i k x)`` for positions ``(... n)`` and ``weights`` ``(n)``, 1 where left out, at the frequencies
    from 0 to Nyquist, as complex64 ``(... n w)``.

    A frequency is a multiple of ``step`` plus a rest, and its wave the product of theirs: two short tables in place of
    a sine for each. Whole turns are taken off in float64, so that single precision is enough for what remains.
    """
    count = grid.box // 2 + 1
    step = math.isqrt(count - 1) + 1
    turns = (position.to(torch.float64) / grid.width)[..., None]

    def table(index: Tensor, height: Tensor) -> Tensor:
        angle = index * turns
        angle = (-2.0 * math.pi * (angle - angle.round())).to(torch.float32)
        return torch.polar(height.to(torch.float32).expand_as(angle).contiguous(), angle)

    one = torch.ones(())
    rests = table(torch.arange(step), one if weights is None else weights[:, None])
    multiples = table(step * torch.arange(-(-count // step)), one)
    waves = (multiples[..., None] * rests[..., None, :]).flatten(-2)[..., :count]
    waves[..., -1] = 0.0
    return waves


def _products(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """``sum_n a_n b_n`` and ``sum_n conj(a_n) b_n`` for waves ``(... n w)``, each ``(... w w)``: one real product."""
    a, b = (torch.view_as_real(waves).flatten(-2) for waves in (first, second))
    parts = (a.transpose(-1, -2) @ b).unflatten(-2, (-1, 2)).unflatten(-1, (-1, 2))
    real, crossed = parts[..., 0, :, :], parts[..., 1, :, :]
    direct, turned = torch.view_as_complex(real.contiguous()), 1j * torch.view_as_complex(crossed.contiguous())
    return direct + turned, direct - turned


def _both_signs(positive: Tensor, negative: Tensor) -> Tensor:
    """Rows of all frequencies in FFT order, ``(... d w)``, from those at k and at -k, each ``(... w w)``."""
    return torch.cat([positive, negative[..., 1:-1, :].flip(-2)], dim=-2)
