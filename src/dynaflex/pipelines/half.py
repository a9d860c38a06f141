"""One half-set, ready to train on: its images in memory, its poses and optics, and reproducible batches.

A half is a value. Nothing here knows how many halves there are, and what one draws does not depend on the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from dynaflex import fourier
from dynaflex.data import preprocess
from dynaflex.data.particles import Particles
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.model import Batch
from dynaflex.shapes import Tensor

_READ = 256


class HalfSet:
    """The particles of one half: normalised to unit noise variance, masked, Fourier-cropped to the training grid."""

    def __init__(
        self, particles: Particles, half: int, grid: Grid, diameter: float, device: torch.device, *, sign: float = 1.0
    ) -> None:
        self.half = half
        self.particles = particles
        self.grid = grid
        self.device = device
        self.pose: Pose = particles.pose.to(device)
        self.ctf: CtfParams = particles.ctf.to(device)
        self.images = torch.empty(len(particles), grid.box, grid.box)
        for part in torch.arange(len(particles)).split(_READ):
            raw = particles.images(part.numpy()) * sign
            centre = particles.pose.shift[part].float()
            self.images[part] = preprocess.prepare(raw, particles.grid, grid, diameter, centre)

    def __len__(self) -> int:
        return len(self.particles)

    def batch(self, index: Tensor, noise: Tensor, pose: Pose | None = None) -> Batch:
        """The particles ``index`` ``(b)`` with the sampler's draws ``noise`` ``(b k)``."""
        images = self.images[index].to(self.device)
        where = index.to(self.device)
        return Batch(
            index=where,
            images=images,
            coefficients=fourier.transform(images, 2),
            pose=(self.pose if pose is None else pose)[where],
            ctf=transfer_function(self.ctf[where], self.grid),
            noise=noise.to(self.device),
        )

    def batches(self, index: Tensor, size: int, latent_dim: int, key: tuple[int, ...], *, shuffle: bool = True) -> Iterator[Batch]:
        """Batches over the particles ``index``; order and noise are functions of ``key`` alone."""
        generator = keyed_generator(*key)
        noise = torch.randn(len(self), latent_dim, generator=generator)
        order = index[torch.randperm(len(index), generator=generator)] if shuffle else index
        for part in order.split(size):
            yield self.batch(part, noise[part])


def keyed_generator(*key: int) -> torch.Generator:
    """A generator whose stream is a function of the whole numbers in ``key``, such as (seed, half, epoch)."""
    words = np.random.SeedSequence(list(key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
