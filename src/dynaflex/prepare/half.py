"""One half-set, ready to train on: its images in memory, its poses and optics, and reproducible batches.

A half is a value. Nothing here knows how many halves there are, and what one draws does not depend on the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dynaflex import fourier, tell
from dynaflex.data import preprocess
from dynaflex.data.particles import Particles
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.noise import residual_power
from dynaflex.imaging.pose import Pose
from dynaflex.model import Batch
from dynaflex.shapes import Tensor

_READ = 256


@dataclass(frozen=True)
class Imaging:
    """How raw images become what a model sees: a grid, a sign, and a circle of ``diameter`` Å around the particle.

    Nothing is masked: the CTF spreads signal beyond the particle, and a model does not mask what it predicts. Outside
    the circle the noise is normalised, inside of it the noise is learned.
    """

    grid: Grid
    diameter: float
    edge: float
    sign: float = 1.0

    def normalise(self, particles: Particles, index: Tensor) -> Tensor:
        """The images ``index`` ``(b)``, Fourier-cropped and of unit noise variance, ``(b h h)``.

        Raises:
            InputError: one has no noise around the particle.
        """
        images = preprocess.fourier_crop(particles.images(index.numpy()) * self.sign, self.grid.box)
        try:
            return preprocess.normalise(images, self._mask(particles, index))
        except InputError as error:
            stack, number, row = particles.image_of(int(index[error.row or 0]))
            problem = f"image {number} {error.problem}"
            raise particles.words.error(error.but(problem=problem, file=stack, row=None, found=row)) from error

    def window(self) -> Tensor:
        """The circle around the centre of an image, ``(h h)``, in which the noise is learned."""
        return preprocess.circular_mask(self.grid, self.diameter, self.edge)

    def _mask(self, particles: Particles, index: Tensor) -> Tensor:
        return preprocess.circular_mask(self.grid, self.diameter, self.edge, particles.pose.shift[index])


class HalfSet:
    """The particles of one half: normalised to unit noise variance, Fourier-cropped to the training grid."""

    def __init__(self, particles: Particles, half: int, imaging: Imaging, device: torch.device) -> None:
        self.half = half
        self.particles = particles
        self.grid = imaging.grid
        self.device = device
        self.window = imaging.window().to(device)
        self.pose: Pose = particles.pose.to(device)
        self.ctf: CtfParams = particles.ctf.to(device)
        self.images = torch.empty(len(particles), self.grid.box, self.grid.box)
        for part in tell.each(torch.arange(len(particles)).split(_READ), f"images of {self.whose}"):
            self.images[part] = imaging.normalise(particles, part)

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def whose(self) -> str:
        """The half in words."""
        return f"half {self.half}" if self.half else "all particles"

    def batch(self, index: Tensor, noise: Tensor, pose: Pose | None = None) -> Batch:
        """The particles ``index`` ``(b)`` with the sampler's draws ``noise`` ``(b k)``."""
        images = self.images[index].to(self.device)
        where = index.to(self.device)
        own_pose, ctf = self.optics(where)
        return Batch(
            index=where,
            images=images,
            coefficients=fourier.transform(images, 2),
            pose=own_pose if pose is None else pose[where],
            ctf=ctf,
            noise=noise.to(self.device),
        )

    def optics(self, index: Tensor) -> tuple[Pose, Tensor]:
        """Poses and CTF ``(b h w)`` of the particles ``index`` ``(b)``, for where their images are not needed."""
        where = index.to(self.device)
        return self.pose[where], transfer_function(self.ctf[where], self.grid)

    def coefficients(self, index: Tensor) -> Tensor:
        """The transforms ``(b h w)`` of the images ``index`` ``(b)``."""
        return fourier.transform(self.images[index].to(self.device), 2)

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
            yield self.batch(part, noise[part])


def keyed_generator(*key: int) -> torch.Generator:
    """A generator whose stream is a function of the whole numbers in ``key``, such as (seed, half, epoch)."""
    words = np.random.SeedSequence(list(key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
