"""Deformed filtered backprojection."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.reconstruct.operator import Operator, Views
from dynaflex.shapes import Tensor

FLOOR = 0.1


def backproject(operator: Operator, batches: Callable[[], Iterable[Views]]) -> Tensor:
    """The map ``(d d d)`` as ``D^-1 sum_i P_i* C_i* y_i``. Implements [DM 7].

    As in the paper, D is that of the homogeneous case: the spread function of rigid particles with the same poses and
    CTFs. Both sides are windowed to the box in the same way, which makes the division an interpolation in Fourier space
    with the window's transform as its kernel; the window is divided out at the end. D is kept above a tenth of its
    mean in the shell, so that directions without images are not blown up.
    """
    grid = operator.field.grid
    window = _window(grid, operator.field.points.device)
    numerator = fourier.transform(operator.field.to_volume(operator.back(batches())) * window, 3)
    spread = operator.field.to_volume(operator.spread_function(batches()))
    weight = fourier.transform(spread * window, 3).real
    floor = FLOOR * fourier.spread_shells(fourier.shell_mean(weight, grid, 3).clamp(min=1e-6), grid, 3)
    inside = grid.shells(3, window.device) < grid.n_shells - 1
    filtered = torch.where(inside, numerator / torch.maximum(weight, floor), 0.0)
    return fourier.inverse_transform(filtered, 3) / window.clamp(min=0.05) * (window > 0)


def _window(grid: Grid, device: torch.device) -> Tensor:
    """1 at the centre, falling as a cosine to 0 at the surface of the sphere that fits into the box, ``(d d d)``."""
    radius = grid.radius_of_points(device).view(grid.box, grid.box, grid.box)
    return torch.cos(0.5 * torch.pi * (radius / (grid.width / 2)).clamp(max=1.0))
