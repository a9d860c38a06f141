"""Images of one sampling on another: optics groups brought to the grid of the map, and lenses that stretch undone."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from dynaflex.grid import Grid
from dynaflex.shapes import Array, FloatArray, Tensor

# Coarser images than the grid lack its outermost frequencies; up to this much coarser they are used all the same.
COARSER = 1.05


def fits(native: Grid, grid: Grid) -> bool:
    """Whether images of the grid ``native`` hold all that ``grid`` shows: its field of view, and its resolution."""
    return native.width > grid.width - 2.0 * grid.pixel_size and native.pixel_size < COARSER * grid.pixel_size


def resampled(images: FloatArray, native: Grid, grid: Grid) -> FloatArray:
    """Images ``(n b b)`` sampled on ``native`` as ``(n h h)`` on ``grid``, origin on origin.

    What lies beyond the Nyquist frequency of the coarser grid is left out. Values keep their scale.
    """
    matrix = _interpolation(native, grid)
    return np.asarray(matrix @ images @ matrix.T, dtype=np.float32)


def straightened(images: Tensor, grid: Grid, magnification: Array) -> Tensor:
    """Images ``(b h h)`` as they would be without this ``magnification`` ``(2 2)``: the value at Mᵀx is taken to x.

    Two shears, each a shift of rows or columns, and a change of sampling, all of them exact for what a Fourier series
    holds: noise keeps its power.
    """
    (a, b), (c, d) = magnification.T
    along_y = float(d)
    along_x = float((a * d - b * c) / d)
    images = _sheared(images, grid, float(b / d))
    images = _sheared(images.transpose(1, 2), grid, float(c / along_x)).transpose(1, 2)
    x, y = (
        torch.from_numpy(_interpolation(grid, replace(grid, pixel_size=grid.pixel_size * along)))
        for along in (along_x, along_y)
    )
    return y @ images @ x.T


def _sheared(images: Tensor, grid: Grid, slope: float) -> Tensor:
    """Images ``(b h h)`` whose value at (x, y) is that at (x + ``slope`` y, y) of those given."""
    kx, _ = grid.frequencies(dtype=torch.float64)
    angle = 2.0 * torch.pi * slope * grid.axis(dtype=torch.float64)[:, None] * kx
    phase = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
    return torch.fft.irfft(torch.fft.rfft(images) * phase, n=grid.box)


@lru_cache(maxsize=16)
def _interpolation(native: Grid, grid: Grid) -> FloatArray:
    """The samples on one axis of ``grid`` from those of ``native``, ``(h b)``: its Fourier series, evaluated there."""
    frequency = np.arange(native.box // 2 + 1) / native.width
    highest = 0.5 / max(native.pixel_size, grid.pixel_size)
    # The constant term stands for itself, a term at Nyquist shares its value with its negative, others count twice.
    weight = np.where(frequency < highest * (1.0 - 1e-9), 2.0, np.where(frequency > highest * (1.0 + 1e-9), 0.0, 1.0))
    weight[0] = 1.0
    phase_out = 2.0 * np.pi * _axis(grid)[:, None] * frequency
    phase_in = 2.0 * np.pi * _axis(native)[:, None] * frequency
    matrix = (np.cos(phase_out) * weight) @ np.cos(phase_in).T + (np.sin(phase_out) * weight) @ np.sin(phase_in).T
    interpolation: FloatArray = (matrix / native.box).astype(np.float32)
    return interpolation


def _axis(grid: Grid) -> Array:
    axis: Array = (np.arange(grid.box, dtype=np.float64) - grid.center) * grid.pixel_size
    return axis
