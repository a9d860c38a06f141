"""Amortised inference: a network from the image to its posterior, as in the paper."""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.imaging.batch import Batch
from dynaflex.latents.posterior import Latents, Posterior


class Encoder(Latents):
    """Three linear layers with ReLU on the flattened image, Fourier-cropped to at most ``max_box`` pixels a side."""

    def __init__(self, latent_dim: int, box: int, *, max_box: int = 64, widths: tuple[int, int] = (256, 128)) -> None:
        super().__init__()
        self.box = min(box, max_box)
        self.first = torch.nn.Linear(self.box**2, widths[0])
        self.second = torch.nn.Linear(widths[0], widths[1])
        self.third = torch.nn.Linear(widths[1], 2 * latent_dim)

    def posterior(self, batch: Batch) -> Posterior:
        """Posterior ``(b k)`` from the images alone, in the mean over those of a tilt series."""
        box = batch.coefficients.shape[-2]
        cropped = fourier.crop_coefficients(batch.coefficients, self.box, 2) * (self.box / box) ** 2
        small = fourier.inverse_transform(cropped, 2).flatten(1)
        hidden = torch.relu(self.second(torch.relu(self.first(small))))
        mean, log_scale = batch.series.mean(self.third(hidden)).chunk(2, dim=1)
        return Posterior(mean, log_scale.clamp(-6.0, 2.0))
