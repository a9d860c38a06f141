"""The linear operator from a consensus map to the images of moving particles, and its adjoint."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose import Pose
from dynaflex.reconstruct.field import Field
from dynaflex.shapes import Tensor


class Operator:
    """``A``: the map's voxels to images, ``C_i P_i`` with the particle's deformation inside P. Implements [DM 6].

    [DM 6] asks for the map f that minimises ``sum_i |C_i P_i f - y_i|²``; this class is its A, the normal operator
    ``A* W A`` and the right-hand side ``A* W y``, with noise weights W: one over the power of the noise in each shell,
    so that noise puts the covariance ``A* W A`` into the right-hand side. Voxels are point masses: within Nyquist their
    images are exact central slices of the band-limited map.
    """

    def __init__(self, field: Field, noise_power: Tensor | None = None) -> None:
        self.field = field
        grid = field.grid
        power = torch.ones(grid.n_shells, device=field.points.device) if noise_power is None else noise_power
        # noise_weights counts pairs of conjugates; here W acts on coefficients, so that factor comes off again.
        hermitian = noise_weights(torch.ones_like(power), grid)
        weights = noise_weights(power, grid)
        self.weights = torch.where(hermitian > 0, weights / hermitian.clamp(min=1e-30), 0.0)

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

    def back(self, batches: Iterable[Batch]) -> Tensor:
        """The right-hand side ``A* W y``, summed over all images, ``(n)``."""
        return self.back_in_two(batches).sum(dim=0)

    def back_in_two(self, batches: Iterable[Batch]) -> Tensor:
        """The right-hand side summed over the first, third, ... and over the second, fourth, ... images, ``(2 n)``."""
        total = torch.zeros(2, len(self.field.points), device=self.field.points.device)
        for batch in batches:
            for part in range(min(2, len(batch))):
                mine = batch.take(torch.arange(part, len(batch), 2, device=batch.ctf.device))
                total[part] += self.adjoint(mine.coefficients * self.weights, mine)
        return total

    def spread_function(self, batches: Iterable[Batch], around: Field) -> Tensor:
        """What the normal operator of the rigid problem makes of a point at the origin, ``(n)`` voxels ``around``."""
        total = torch.zeros(len(around.points), device=around.points.device)
        for batch in batches:
            centred = Pose(batch.pose.rotation, torch.zeros_like(batch.pose.shift))
            power = (batch.ctf.abs().square() * self.weights).to(torch.complex64)
            total += around.gather(power, None, centred)
        return total
