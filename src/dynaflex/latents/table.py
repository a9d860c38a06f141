"""The auto-decoder: one posterior per particle, learned like any other parameter."""

from __future__ import annotations

import math

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.latents.posterior import Latents, Posterior
from dynaflex.shapes import Tensor


class LatentTable(Latents):
    """Mean and log-scale of every particle ``(p, 2 k)``; only the rows of a batch receive a gradient."""

    def __init__(self, count: int, latent_dim: int, generator: torch.Generator, *, spread: float = 0.5) -> None:
        super().__init__()
        mean = torch.randn(count, latent_dim, generator=generator) * spread
        log_scale = torch.full((count, latent_dim), math.log(0.3))
        self.table = torch.nn.Embedding.from_pretrained(torch.cat([mean, log_scale], dim=1), freeze=False, sparse=True)

    def posterior(self, batch: Batch) -> Posterior:
        """Posterior ``(b k)`` of the particles of a batch, whose images are not looked at.

        Images of a tilt series share that in the row of the first.
        """
        found = self.posterior_of(batch.series.one(batch.index))
        return Posterior(*map(batch.series.each, (found.mean, found.log_scale)))

    def posterior_of(self, index: Tensor) -> Posterior:
        """Posterior ``(b k)`` of the rows ``index``."""
        mean, log_scale = self.table(index).chunk(2, dim=1)
        return Posterior(mean, log_scale)

    def mean_of(self, index: Tensor) -> Tensor:
        """The means ``(b k)`` of the rows ``index``, cut off from any gradient."""
        return self.table.weight.detach()[index].chunk(2, dim=1)[0]

    def set_mean(self, index: Tensor, mean: Tensor) -> None:
        """Put means ``(b k)`` that were found otherwise than by a gradient into the rows ``index``."""
        self.table.weight.data[index, : mean.shape[1]] = mean
