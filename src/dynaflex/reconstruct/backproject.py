"""Deformed filtered backprojection."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch

from dynaflex import fourier
from dynaflex.imaging.batch import Batch
from dynaflex.reconstruct.field import Field
from dynaflex.reconstruct.operator import Operator
from dynaflex.shapes import Tensor

FLOOR = 0.1

Batches = Callable[[], Iterable[Batch]]
"""All particles, once; their images are read where more than poses, CTFs and latents is needed."""


class RampFilter:
    """``D^-1`` of [DM 7]: division, in Fourier space, by what the rigid problem makes of a point.

    As in the paper, D is that of the homogeneous case: it depends on poses and CTFs only, so one filter serves every
    motion. Voxels end at the sphere that fits into the box, for the map and for the spread function alike, so both are
    blurred in Fourier space in the same way. In the inverse D is kept above a tenth of its mean in the shell, so that
    directions without images are not blown up.

    ``response`` is D ``(d d w)`` and ``inverse`` what the filter multiplies by: 0 from the Nyquist shell on, which no
    image shows.
    """

    def __init__(self, operator: Operator, batches: Batches, around: Field | None = None) -> None:
        """``around`` holds the voxels on which the spread function is measured: those of the operator, unless they may
        leave out the origin that it surrounds."""
        self.field = operator.field
        around = self.field if around is None else around
        spread = around.to_volume(operator.spread_function(batches(), around))
        grid = self.field.grid
        self.response = fourier.transform(spread, 3).real
        floor = FLOOR * fourier.spread_shells(fourier.shell_mean(self.response, grid, 3).clamp(min=1e-6), grid, 3)
        seen = grid.shells(3, floor.device) < grid.n_shells - 1
        self._divisor = torch.where(seen, torch.maximum(self.response, floor), 0.0)
        self.inverse = torch.where(seen, 1.0 / self._divisor, 0.0)

    def with_precision(self, precision: Tensor) -> RampFilter:
        """Wiener's filter: division by D plus ``precision`` ``(s)``, positive in every shell.

        From the Nyquist shell on, where D is 0, it divides by the last precision: a map cut off at the sphere has some
        of its energy there, and a solver that could not reach it would converge slowly at the sphere's edge.
        """
        grid = self.field.grid
        return self._replaced(1.0 / (self._divisor + fourier.spread_shells(precision, grid, 3)))

    def below(self, band: int) -> RampFilter:
        """The filter that lets nothing pass above shell ``band``."""
        shells = self.field.grid.shells(3, self.inverse.device)
        return self._replaced(torch.where(shells <= band, self.inverse, 0.0))

    def apply(self, values: Tensor) -> Tensor:
        """Filter the field's voxels ``(n)``."""
        coefficients = fourier.transform(self.field.to_volume(values), 3) * self.inverse
        return self.field.from_volume(fourier.inverse_transform(coefficients, 3))

    def _replaced(self, inverse: Tensor) -> RampFilter:
        changed = copy.copy(self)
        changed.inverse = inverse
        return changed


def backproject(operator: Operator, batches: Batches, *, ramp: RampFilter | None = None) -> Tensor:
    """The map ``(d d d)`` as ``D^-1 sum_i P_i* C_i* y_i``, with D from ``ramp`` if given. Implements [DM 7]."""
    ramp = RampFilter(operator, batches) if ramp is None else ramp
    return operator.field.to_volume(ramp.apply(operator.back(batches())))
