"""The linear operator from a consensus map to the images of moving particles, and its adjoint."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch

from dynaflex import ranks
from dynaflex.imaging.batch import Batch, in_halves
from dynaflex.imaging.noise import coefficient_weights
from dynaflex.reconstruct.equations import Batches, Equations, RampFilter
from dynaflex.reconstruct.field import Field
from dynaflex.reconstruct.rigid import RigidProblem
from dynaflex.shapes import Tensor


class Operator:
    """``A``: the map's voxels to images, ``C_i P_i`` with the particle's deformation inside P. Implements [DM 6].

    [DM 6] asks for the map f that minimises ``sum_i |C_i P_i f - y_i|²``; this class is its A, the normal operator
    ``A* W A`` and the right-hand side ``A* W y``, with noise weights W: one over the power of the noise in each shell,
    so that noise puts the covariance ``A* W A`` into the right-hand side. Voxels are point masses: within Nyquist their
    images are exact central slices of the band-limited map.

    Where ranks work together each is given its share of the particles, and what is summed over particles is that of all
    of them.
    """

    def __init__(self, field: Field, noise_power: Tensor | None = None) -> None:
        self.field = field
        grid, device = field.region.grid, field.region.device
        self.noise_power = torch.ones(grid.n_shells, device=device) if noise_power is None else noise_power
        self.weights = coefficient_weights(self.noise_power, grid)

    def apply(self, values: Tensor, batch: Batch) -> Tensor:
        """A: image coefficients ``(b h w)`` of the map with voxels ``values`` ``(n)``."""
        return self.field.splat(values, batch.latents, batch.pose) * batch.ctf

    def adjoint(self, coefficients: Tensor, batch: Batch) -> Tensor:
        """A*: images ``(b h w)`` drawn back through the CTF onto the voxels and summed, ``(n)``."""
        return self.field.gather(coefficients * batch.ctf.conj(), batch.latents, batch.pose)

    def normal(self, values: Tensor, batch: Batch) -> Tensor:
        """``A* W A`` on voxels ``(n)``."""
        power = batch.ctf.abs().square() * self.weights
        return self.field.splat_and_gather(values, power, batch.latents, batch.pose)

    def summed(self, batches: Batches, values: Tensor) -> Tensor:
        """:meth:`normal` summed over all images."""
        total = values.new_zeros(values.shape)
        for batch in batches():
            for found in batch.in_pieces(partial(self.normal, values)):
                total += found
        return ranks.summed(total)

    def back_in_two(self, batches: Iterable[Batch]) -> Tensor:
        """The right-hand side ``A* W y`` summed over the first, third, ... and over the second, fourth, ... images of
        every batch, ``(2 n)``."""
        total = torch.zeros(2, len(self.field.region), device=self.field.region.device)
        for batch in batches:
            for part in range(min(2, len(batch))):
                mine = torch.arange(part, len(batch), 2, device=batch.ctf.device)
                for found in in_halves(partial(self._back, batch), mine):
                    total[part] += found
        return ranks.summed(total)

    def _back(self, batch: Batch, which: Tensor) -> Tensor:
        mine = batch.take(which)
        return self.adjoint(mine.coefficients * self.weights, mine)

    def equations(self, batches: Batches) -> Equations:
        """The normal equations of all particles, for whose right-hand side their images are read; the filter of the
        same particles is made on the way."""
        rigid = RigidProblem(self.field.grid, self.noise_power)
        halves = self.back_in_two(rigid.seen(batches()))
        return self.equations_of(halves, batches, rigid.ramp(rigid.spread()))

    def equations_of(self, halves: Tensor, batches: Batches, ramp: RampFilter) -> Equations:
        """The same where the right-hand side ``(2 n)`` is known, and the ``ramp`` filter of the same particles on the
        same grid, which does not depend on the motion: no image is read."""

        return Equations(self.field.region, halves, partial(self.summed, batches), ramp)
