"""One half-set, ready to train on: its images in memory, its poses and optics, and reproducible batches.

A half is a value. Nothing here knows how many halves there are, and what one draws does not depend on the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from dynaflex import tell
from dynaflex.data.particles import Particles
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import residual_power
from dynaflex.prepare.images import Imaging, ParticleImages
from dynaflex.shapes import Tensor

_READ = 256


class HalfSet(ParticleImages):
    """The particles of one half: normalised to unit noise variance, Fourier-cropped to the training grid, in memory."""

    def __init__(
        self,
        particles: Particles,
        half: int,
        imaging: Imaging,
        device: torch.device,
        contrast: Tensor | None = None,
    ) -> None:
        super().__init__(particles, imaging, device, contrast=contrast)
        self.half = half
        self.window = imaging.window().to(device)
        # Copies of a particle by symmetry have its image, which is held once.
        first = torch.from_numpy(np.unique(particles.image, return_index=True)[1])
        self.images = torch.empty(len(first), self.grid.box, self.grid.box)
        for part in tell.each(torch.arange(len(first)).split(_READ), f"images of {self.whose}"):
            self.images[part] = imaging.normalise(particles, first[part])

    @property
    def whose(self) -> str:
        """The half in words."""
        return f"half {self.half}" if self.half else "all particles"

    def normalised(self, index: Tensor) -> Tensor:
        """The images ``index`` ``(b)`` on the device, ``(b h h)``."""
        return self.images[self.image[index]].to(self.device)

    def power_left(self, prediction: Tensor, batch: Batch) -> Tensor:
        """The power ``(s)`` that predictions ``(b h w)`` leave of a batch where its particles are."""
        return residual_power(prediction, batch.coefficients, self.grid, self.window)

    def batches(
        self, index: Tensor, size: int, latent_dim: int, key: tuple[int, ...], skip: int = 0
    ) -> Iterator[Batch]:
        """Batches over the particles ``index``, but for the first ``skip`` of them.

        Order and noise are functions of ``key`` alone.
        """
        generator = keyed_generator(*key)
        noise = torch.randn(len(self), latent_dim, generator=generator)
        order = index[torch.randperm(len(index), generator=generator)]
        for part in order.split(size)[skip:]:
            yield self.batch(part, noise=noise[part])


def keyed_generator(*key: int) -> torch.Generator:
    """A generator whose stream is a function of the whole numbers in ``key``, such as (seed, half, epoch)."""
    words = np.random.SeedSequence(list(key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
