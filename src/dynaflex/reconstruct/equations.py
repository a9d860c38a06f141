"""The normal equations of a map, whatever made them, and the filter that nearly solves them: backprojection."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.linear import Linear
from dynaflex.reconstruct.field import Region
from dynaflex.shapes import Tensor

FLOOR = 0.1

Batches = Callable[[], Iterable[Batch]]
"""All particles, once; their images are read where more than poses, CTFs and latents is needed."""


class RampFilter:
    """``D^-1`` of [DM 7]: division, in Fourier space, by what the rigid problem makes of a point.

    As in the paper, D is that of the homogeneous case: it depends on poses and CTFs only, so one filter serves every
    motion and every part of the box. What becomes of a point, ``spread`` ``(d d d)``, is cut off at the sphere that
    fits into the box, as maps are, so that both are blurred in Fourier space in the same way. In the inverse D is kept
    above a tenth of its mean in the shell, so that directions without images are not blown up.

    ``response`` is D ``(d d w)``, ``of_shells`` ``(s)`` its mean in every shell, and ``inverse`` what the filter
    multiplies by: 0 from the Nyquist shell on, which no image shows. The mean density is a single coefficient that CTFs
    all but wipe out, and what the cut leaves of its D can be less than nothing: it counts as a part of the first shell.
    """

    def __init__(self, spread: Tensor, grid: Grid) -> None:
        self.grid = grid
        sphere = Region.sphere(grid, spread.device)
        self.response = fourier.transform(sphere.to_volume(sphere.from_volume(spread)), 3).real
        self.of_shells = fourier.shell_mean(self.response, grid, 3).clamp(min=1e-6)
        self.of_shells[0] = self.of_shells[1]
        floor = FLOOR * fourier.spread_shells(self.of_shells, grid, 3)
        seen = grid.shells(3, floor.device) < grid.n_shells - 1
        self._divisor = torch.where(seen, torch.maximum(self.response, floor), 0.0)
        self.inverse = torch.where(seen, 1.0 / self._divisor, 0.0)

    def with_precision(self, precision: Tensor) -> RampFilter:
        """Wiener's filter: division by D plus ``precision`` ``(s)``, positive in every shell.

        From the Nyquist shell on, where D is 0, it divides by the last precision: a map cut off at the sphere has some
        of its energy there, and a solver that could not reach it would converge slowly at the sphere's edge.
        """
        return self._replaced(1.0 / (self._divisor + fourier.spread_shells(precision, self.grid, 3)))

    def below(self, band: int) -> RampFilter:
        """The filter that lets nothing pass above shell ``band``."""
        shells = self.grid.shells(3, self.inverse.device)
        return self._replaced(torch.where(shells <= band, self.inverse, 0.0))

    def apply(self, volume: Tensor) -> Tensor:
        """Filter a map ``(d d d)``."""
        return fourier.inverse_transform(fourier.transform(volume, 3) * self.inverse, 3)

    def _replaced(self, inverse: Tensor) -> RampFilter:
        changed = copy.copy(self)
        changed.inverse = inverse
        return changed


@dataclass(frozen=True)
class Equations:
    """``A* W A f = A* W y`` for the n voxels f of a ``region``: where [DM 6] is smallest.

    ``halves`` ``(2 n)`` are the right-hand side of the first, third, ... and of the second, fourth, ... particles;
    ``normal`` is ``A* W A`` of all, and ``ramp`` the filter that nearly inverts it.
    """

    region: Region
    halves: Tensor
    normal: Linear
    ramp: RampFilter

    @property
    def right_hand_side(self) -> Tensor:
        """That of all particles, ``(n)``."""
        return self.halves.sum(dim=0)

    def filtered(self, values: Tensor, ramp: RampFilter) -> Tensor:
        """Voxels ``(n)`` after a filter, within the region."""
        return self.region.from_volume(ramp.apply(self.region.to_volume(values)))


def backproject(equations: Equations) -> Tensor:
    """The map ``(d d d)`` as ``D^-1 sum_i P_i* C_i* y_i``. Implements [DM 7]."""
    return equations.region.to_volume(equations.filtered(equations.right_hand_side, equations.ramp))
