"""What a particle's image says about its conformation: a Gaussian over the latent space."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

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


class Latents(torch.nn.Module):
    """Gives every particle of one half-set its posterior."""

    @abstractmethod
    def posterior(self, batch: Batch) -> Posterior:
        """Posterior of the particles of a batch."""
