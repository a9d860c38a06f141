"""What a particle's image says about its conformation: a Gaussian over the latent space."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Self

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class Posterior:
    """Independent normal distributions with ``mean`` and ``log_scale``, each ``(b k)``; the prior is N(0, 1)."""

    mean: Tensor
    log_scale: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Latents ``(b k)`` for standard normal ``noise`` ``(b k)``, differentiable in mean and scale."""
        return self.mean + self.log_scale.exp() * noise

    def divergence(self) -> Tensor:
        """Kullback-Leibler divergence from the prior, in nats, one value per particle ``(b)``."""
        variance = (2.0 * self.log_scale).exp()
        return 0.5 * (self.mean.square() + variance - 1.0 - 2.0 * self.log_scale).sum(dim=1)

    def covariances(self) -> Tensor:
        """The covariance ``(b k k)`` of each."""
        return torch.diag_embed((2.0 * self.log_scale).exp())

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(*(getattr(self, part.name).to(device) for part in fields(self)))

    def take(self, index: Tensor) -> Self:
        """Those of the particles ``index`` ``(b)``."""
        return type(self)(*(getattr(self, part.name)[index] for part in fields(self)))


@dataclass(frozen=True)
class Normal(Posterior):
    """Normal distributions whose coordinates hang together: ``covariance`` ``(b k k)``, of which ``log_scale`` says the
    diagonal."""

    covariance: Tensor

    @classmethod
    def around(cls, mean: Tensor, curvature: Tensor) -> Normal:
        """Those of an energy with these second derivatives ``(b k k)`` at its minimum ``(b k)``: Laplace's."""
        return cls.of(mean, torch.linalg.inv_ex(curvature).inverse)

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Normal:
        """Those with a mean ``(b k)`` and covariance ``(b k k)``."""
        variance = covariance.diagonal(dim1=1, dim2=2)
        return cls(mean, 0.5 * variance.clamp(min=1e-12).log(), covariance)

    def sample(self, noise: Tensor) -> Tensor:
        """Latents ``(b k)`` for standard normal ``noise`` ``(b k)``."""
        return self.mean + (self._root() @ noise[..., None])[..., 0]

    def log_density(self, latents: Tensor) -> Tensor:
        """The logarithm ``(b)`` of the density at ``latents`` ``(b k)``, up to ``-k/2 log 2 pi``."""
        root = self._root()
        standard = torch.linalg.solve_triangular(root, (latents - self.mean)[..., None], upper=False)[..., 0]
        return -0.5 * standard.square().sum(dim=-1) - root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)

    def covariances(self) -> Tensor:
        """The covariance ``(b k k)`` of each."""
        return self.covariance

    def _root(self) -> Tensor:
        """The lower triangle ``(b k k)`` whose square is the covariance; the widths alone where that has none."""
        root, failed = torch.linalg.cholesky_ex(self.covariance)
        return torch.where((failed == 0)[:, None, None], root, torch.diag_embed(self.log_scale.exp()))


class Latents(torch.nn.Module):
    """Gives every particle of one half-set its posterior."""

    @abstractmethod
    def posterior(self, batch: Batch) -> Posterior:
        """Posterior of the particles of a batch."""
