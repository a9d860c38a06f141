"""What every deformation is: a family of maps of space onto itself, one for each latent vector."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch

from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Tensor

Moves = Callable[[Tensor], Tensor]
"""``moves(z)``: the displacements ``(b n 3)`` in Å of n points in the conformations z ``(b k)``."""

_AT_ONCE = 64
_STEPS = 100


class Deformation(torch.nn.Module):
    """Where the points of the consensus go in a conformation z; the identity before training."""

    @abstractmethod
    def at(self, points: Tensor) -> Moves:
        """What maps latents to the displacements of points ``(n 3)`` in Å.

        All that does not depend on the latents is found here, once. Differentiable in the points and the latents.
        """

    @property
    def mesh(self) -> TetMesh | None:
        """The mesh at rest whose vertices :meth:`carry` moves; None where it moves the points themselves."""
        return None

    def displacement(self, latents: Tensor, points: Tensor) -> Tensor:
        """Displacements ``(b n 3)`` in Å of points ``(n 3)`` for latents ``(b k)``."""
        return self.at(points)(latents)

    def carry(self, latents: Tensor, points: Tensor) -> Tensor:
        """Destinations ``(b n 3)`` of the points ``(n 3)`` that a density gave this deformation to move."""
        return points + self.displacement(latents, points)

    def effective(self, latents: Tensor) -> Tensor:
        """Latents ``(b k)`` with 0 for those along which nothing moves."""
        return latents

    def middle(self, latents: Tensor, points: Tensor) -> Tensor:
        """The latents ``(k)`` of the conformation nearest to the mean of those of latents ``(p k)``, over points
        ``(n 3)``."""
        moves = self.at(points)
        with torch.no_grad():
            mean = torch.stack([moves(part).double().sum(dim=0) for part in latents.split(_AT_ONCE)]).sum(dim=0)
            mean = (mean / len(latents)).float()
        found = latents.mean(dim=0).clone().requires_grad_()
        search = torch.optim.LBFGS([found], max_iter=_STEPS, tolerance_change=1e-7, line_search_fn="strong_wolfe")

        def distance() -> Tensor:
            search.zero_grad()
            away = (moves(found[None])[0] - mean).square().sum(dim=1).mean()
            away.backward()
            return away

        search.step(distance)
        return found.detach()


def interpolated(moved: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Displacements ``(b n 3)`` as means of those ``(b m 3)`` of ``corners`` ``(n c)`` with ``weights`` ``(n c)``."""
    batch, count = len(moved), len(corners)
    columns = moved.permute(1, 2, 0).flatten(1)
    mean = torch.nn.functional.embedding_bag(corners, columns, per_sample_weights=weights, mode="sum")
    return mean.view(count, 3, batch).permute(2, 0, 1)
