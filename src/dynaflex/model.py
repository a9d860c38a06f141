"""The model of one half-set: density, deformation and latents, and the images they predict."""

from __future__ import annotations

import torch

from dynaflex.deformation.base import Deformation
from dynaflex.density.base import Density
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.render import render
from dynaflex.latents.posterior import Latents
from dynaflex.shapes import Tensor


class FlexModel(torch.nn.Module):
    """Weighted points that move: the forward model of both methods."""

    def __init__(self, density: Density, deformation: Deformation, latents: Latents, grid: Grid) -> None:
        super().__init__()
        self.density = density
        self.deformation = deformation
        self.latents = latents
        self.grid = grid

    def deformed(self, latents: Tensor) -> Tensor:
        """Positions ``(b n 3)`` of the density's points in the conformations ``latents`` ``(b k)``."""
        return self.deformation.carry(latents, self.density.points())

    def render(self, points: Tensor, pose: Pose, ctf: Tensor | None) -> Tensor:
        """Image coefficients ``(b h w)`` of the density with its points at ``points`` ``(b n 3)`` or ``(n 3)``."""
        density = self.density
        return render(points, density.weights(self.grid), density.widths(), pose, ctf, self.grid, density.table)

    def predict(self, batch: Batch) -> Tensor:
        """Image coefficients ``(b h w)`` at the posterior means."""
        mean = self.latents.posterior(batch).mean
        return self.render(self.deformed(mean), batch.pose, batch.ctf)
