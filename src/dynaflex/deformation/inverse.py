"""The paper's inverse deformation: a network that leads deformed points back to the consensus."""

from __future__ import annotations

import torch

from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.shapes import Tensor


class InverseDeformation(torch.nn.Module):
    """``D^-1(z, y)``: six layers over latent and deformed position, with a residual connection."""

    def __init__(self, latent_dim: int, box_width: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.network = CoordinateMLP(latent_dim, box_width, layers=6, width=64, generator=generator)

    def origins(self, latents: Tensor, points: Tensor) -> Tensor:
        """Where deformed points ``(b n 3)`` came from in the conformations ``latents`` ``(b k)``, ``(b n 3)``."""
        back = [self.network.displacement(z[None], y)[0] for z, y in zip(latents, points, strict=True)]
        return points + torch.stack(back)

    def pull(self, latents: Tensor, points: Tensor) -> Tensor:
        """The displacement ``(b n 3)`` that the original program backprojects along, ``x - D^-1(z, x)``.

        The inverse displacement with its sign turned is taken at the consensus point x and not where x goes to: right
        to first order in the displacement. See docs/adr/0002-reconstruction.md for what that costs.
        """
        return -self.network.displacement(latents, points)


def inverse_loss(
    inverse: InverseDeformation, latents: Tensor, deformed: Tensor, points: Tensor, edges: Tensor
) -> Tensor:
    """Mean squared distance in Å² between ``D^-1(z, D(z, c))`` and c, plus the roughness of the inverse field.

    ``deformed`` ``(b n 3)``, ``points`` ``(n 3)``. Roughness is the mean squared difference of the inverse displacement
    between neighbours ``edges`` ``(e 2)``.
    """
    origins = inverse.origins(latents, deformed)
    field = origins - deformed
    roughness = (field[:, edges[:, 0]] - field[:, edges[:, 1]]).square().sum(dim=2).mean()
    return (origins - points).square().sum(dim=2).mean() + ROUGHNESS_WEIGHT * roughness


ROUGHNESS_WEIGHT = 0.01
