"""What every deformation is: a family of maps of space onto itself, one for each latent vector."""

from __future__ import annotations

from abc import abstractmethod

import torch

from dynaflex.shapes import Tensor


class Deformation(torch.nn.Module):
    """``apply(z, x)``: where the points x of the consensus go in the conformation z; the identity before training."""

    @abstractmethod
    def displacement(self, latents: Tensor, points: Tensor) -> Tensor:
        """Displacements ``(b n 3)`` in Å of points ``(n 3)`` for latents ``(b k)``."""

    def carry(self, latents: Tensor, points: Tensor) -> Tensor:
        """Destinations ``(b n 3)`` of the points ``(n 3)`` that a density gave this deformation to move."""
        return self.apply(latents, points)

    def apply(self, latents: Tensor, points: Tensor) -> Tensor:  # type: ignore[override]
        """Destinations ``(b n 3)`` in Å of points ``(n 3)`` for latents ``(b k)``."""
        return points + self.displacement(latents, points)
