"""The linear operator from a consensus map to the images of moving particles, and its adjoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose import Pose, project
from dynaflex.imaging.splat import gather, splat
from dynaflex.reconstruct.field import VoxelField
from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class Views:
    """b particles to reconstruct from: poses, latents ``(b k)``, ``ctf`` and image ``coefficients`` ``(b h w)``.

    The images may be left out (None) where the operator alone is wanted.
    """

    coefficients: Tensor | None
    ctf: Tensor
    pose: Pose
    latents: Tensor


class Operator:
    """``A``: the map's voxels to images, ``C_i P_i`` with the particle's deformation inside P. Implements [DM 6].

    [DM 6] asks for the map f that minimises ``sum_i |C_i P_i f - y_i|²``; this class is its A, the normal operator
    ``A* W A`` and the right-hand side ``A* W y``, with noise weights W. Voxels are point masses: within Nyquist their
    images are exact central slices of the band-limited map.
    """

    def __init__(self, field: VoxelField, noise_power: Tensor | None = None) -> None:
        self.field = field
        grid = field.grid
        power = torch.ones(grid.n_shells, device=field.points.device) if noise_power is None else noise_power
        # noise_weights counts pairs of conjugates; here W acts on coefficients, so that factor comes off again.
        hermitian = noise_weights(torch.ones_like(power), grid)
        weights = noise_weights(power, grid)
        self.weights = torch.where(hermitian > 0, weights / hermitian.clamp(min=1e-30), 0.0)

    def apply(self, values: Tensor, views: Views) -> Tensor:
        """A: image coefficients ``(b h w)`` of the map with voxels ``values`` ``(n)``."""
        points = self.field.image_points(views.latents, views.pose)
        return splat(points, values, self.field.grid) * views.ctf

    def adjoint(self, coefficients: Tensor, views: Views) -> Tensor:
        """A*: images ``(b h w)`` drawn back through the CTF onto the voxels and summed, ``(n)``."""
        points = self.field.image_points(views.latents, views.pose)
        return gather(points, coefficients * views.ctf.conj(), self.field.grid)

    def normal(self, values: Tensor, views: Views) -> Tensor:
        """``A* W A`` on voxels ``(n)``; the voxels are sent to the images once for both directions."""
        points = self.field.image_points(views.latents, views.pose)
        power = views.ctf.abs().square() * self.weights
        return gather(points, splat(points, values, self.field.grid) * power, self.field.grid)

    def back(self, batches: Iterable[Views]) -> Tensor:
        """The right-hand side ``A* W y``, summed over all images, ``(n)``."""
        total = torch.zeros(len(self.field.points), device=self.field.points.device)
        for views in batches:
            if views.coefficients is None:
                raise ValueError("the right-hand side needs the images")
            total += self.adjoint(views.coefficients * self.weights, views)
        return total

    def spread_function(self, batches: Iterable[Views]) -> Tensor:
        """What the normal operator of the rigid problem makes of a point at the origin, ``(n)``."""
        total = torch.zeros(len(self.field.points), device=self.field.points.device)
        for views in batches:
            centred = Pose(views.pose.rotation, torch.zeros_like(views.pose.shift))
            power = (views.ctf.abs().square() * self.weights).to(torch.complex64)
            total += gather(project(self.field.points, centred), power, self.field.grid)
        return total
