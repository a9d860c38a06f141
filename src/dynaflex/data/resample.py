"""Images of one sampling on the grid of another: several optics groups brought to the grid of the map."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dynaflex.grid import Grid
from dynaflex.shapes import Array, FloatArray

# Coarser images than the grid lack its outermost frequencies; up to this much coarser they are used all the same.
COARSER = 1.05


def fits(native: Grid, grid: Grid) -> bool:
    """Whether images of the grid ``native`` hold all that ``grid`` shows: its field of view, and its resolution."""
    return native.width > grid.width - 2.0 * grid.pixel_size and native.pixel_size < COARSER * grid.pixel_size


def resampled(images: FloatArray, native: Grid, grid: Grid) -> FloatArray:
    """Images ``(n b b)`` sampled on ``native`` as ``(n h h)`` on ``grid``, origin on origin.

    What lies beyond the Nyquist frequency of the coarser grid is left out. Values keep their scale.
    """
    matrix = interpolation(native, grid)
    return np.asarray(matrix @ images @ matrix.T, dtype=np.float32)


@lru_cache(maxsize=16)
def interpolation(native: Grid, grid: Grid) -> FloatArray:
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
