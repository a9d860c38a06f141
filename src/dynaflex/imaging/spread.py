"""Point masses in space as a band-limited map: what :mod:`dynaflex.imaging.splat` is to images."""

from __future__ import annotations

from functools import lru_cache

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.spline import deconvolution
from dynaflex.kernels.reference import spline_weights
from dynaflex.shapes import Tensor

OVERSAMPLING = 2
"""Masses on a lattice have a spectrum that repeats. At twice the samples the copies fall outside of the map's band, and
the spline has a zero where the next ones would fall onto it."""


def spread(points: Tensor, mass: Tensor, grid: Grid, finest: float = 0.0) -> Tensor:
    """The map ``(d d d)`` of point masses ``(n)`` at ``points`` ``(n 3)`` in Å from the centre of its box.

    Its sum is that of the masses inside the box; those outside are lost. Masses on voxels make a map with these values,
    to 1.5 % at Nyquist and 0.1 % at half of it. Nothing finer than ``finest`` Å is kept.
    """
    fine = OVERSAMPLING * grid.box
    position = points * (fine / grid.width) + fine // 2
    inside = ((position >= 0.0) & (position < fine)).all(dim=1)
    position, mass = position[inside], mass[inside]
    base = position.floor()
    x, y, z = (spline_weights((position - base)[:, axis]) for axis in range(3))
    # The box is periodic, as its Fourier transform is.
    columns, rows, sections = ([(base[:, axis].long() + i - 1) % fine for i in range(4)] for axis in range(3))
    volume = mass.new_zeros(fine**3)
    for k in range(4):
        for j in range(4):
            start, share = (sections[k] * fine + rows[j]) * fine, mass * z[k] * y[j]
            for i in range(4):
                volume.index_add_(0, start + columns[i], share * x[i])
    coefficients = fourier.crop_coefficients(torch.fft.rfftn(volume.view(fine, fine, fine)), grid.box, 3)
    return fourier.inverse_transform(coefficients * _factor(grid, fine, finest, mass.device), 3)


@lru_cache(maxsize=4)
def _factor(grid: Grid, fine: int, finest: float, device: torch.device) -> Tensor:
    """What coefficients of spread masses are multiplied by, ``(d d w)``."""
    factor = deconvolution(grid.box, fine, 3, device, torch.float32)
    return factor if finest <= 0.0 else torch.where(grid.radius(3, device) <= grid.width / finest, factor, 0.0)
