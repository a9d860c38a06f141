"""Deformed filtered backprojection."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from dynaflex import fourier
from dynaflex.reconstruct.operator import Operator, Views
from dynaflex.shapes import Tensor

FLOOR = 0.1

Batches = Callable[[bool], Iterable[Views]]
"""``batches(with_images)``: all particles, once; without images where only their poses, CTFs and latents are needed."""


class RampFilter:
    """``D^-1`` of [DM 7]: division, in Fourier space, by what the rigid problem makes of a point.

    As in the paper, D is that of the homogeneous case. Voxels end at the sphere that fits into the box, for the map and
    for the spread function alike, so both are blurred in Fourier space in the same way. D is kept above a tenth of its
    mean in the shell, so that directions without images are not blown up.
    """

    def __init__(self, operator: Operator, batches: Batches) -> None:
        self.field = operator.field
        grid = self.field.grid
        spread = self.field.to_volume(operator.spread_function(batches(False)))
        weight = fourier.transform(spread, 3).real
        floor = FLOOR * fourier.spread_shells(fourier.shell_mean(weight, grid, 3).clamp(min=1e-6), grid, 3)
        inside = grid.shells(3, weight.device) < grid.n_shells - 1
        self.inverse = torch.where(inside, 1.0 / torch.maximum(weight, floor), 0.0)

    def apply(self, values: Tensor) -> Tensor:
        """Filter the field's voxels ``(n)``."""
        coefficients = fourier.transform(self.field.to_volume(values), 3) * self.inverse
        return self.field.from_volume(fourier.inverse_transform(coefficients, 3))


def backproject(operator: Operator, batches: Batches) -> Tensor:
    """The map ``(d d d)`` as ``D^-1 sum_i P_i* C_i* y_i``. Implements [DM 7]."""
    return operator.field.to_volume(RampFilter(operator, batches).apply(operator.back(batches(True))))
