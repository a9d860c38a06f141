"""One half-set, ready to train on: its images, its poses and optics, and reproducible batches.

A half is a value. Nothing here knows how many halves there are, and what one draws does not depend on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from dynaflex import ranks, tell
from dynaflex.cache.stored import PRECISION
from dynaflex.data.particles import Particles
from dynaflex.imaging.batch import Batch, Share, halved
from dynaflex.imaging.noise import residual_power
from dynaflex.imaging.noise_groups import GroupNoise, NoiseKinds
from dynaflex.prepare.images import Imaging, ParticleImages
from dynaflex.shapes import Tensor

_READ = 256
WINDOW, _BLOCK = 8192, 64
"""Particles that an epoch mixes, and those of them that lie together where images are stored."""
_SOON, _SURE = 8, 8
"""Batches that are fetched ahead, and batches after which a whole epoch is surely meant."""


class HalfSet(ParticleImages):
    """The particles of one half: normalised to unit noise variance, Fourier-cropped to the training grid.

    Images that are not stored are in memory.
    """

    def __init__(
        self,
        particles: Particles,
        half: int,
        imaging: Imaging,
        device: torch.device,
        contrast: Tensor | None = None,
        noise: GroupNoise | None = None,
    ) -> None:
        super().__init__(particles, imaging, device, contrast=contrast, noise=noise)
        self.half = half
        self.window = imaging.window().to(device)
        self.kinds = NoiseKinds.among(particles.group, particles.image, self.window, self.grid)
        # Copies of a particle by symmetry have its image, which is held once.
        first = torch.from_numpy(np.unique(particles.image, return_index=True)[1])
        held = 0 if imaging.stored is not None else len(first)
        self.images = torch.empty(held, self.grid.box, self.grid.box, dtype=PRECISION)
        if held:
            for part in tell.each(torch.arange(held).split(_READ), f"images of {self.whose}"):
                self.images[part] = halved(partial(imaging.normalise, particles), first[part])

    @property
    def whose(self) -> str:
        """The half in words."""
        return f"half {self.half}" if self.half else "all particles"

    def normalised(self, index: Tensor) -> Tensor:
        """The images ``index`` ``(b)`` on the device, float32 ``(b h h)``.

        Raises:
            ResourceError: they were stored, and are gone.
        """
        if self.imaging.stored is not None:
            return super().normalised(index)
        return self.images[self.image[index]].to(self.device).float()

    def power_left(self, prediction: Tensor, batch: Batch) -> Tensor:
        """The power that predictions ``(b h w)`` leave of a batch where its particles are, ``(k s)``: what each kind of
        noise has in the mean over the batch."""
        if len(self.kinds) == 1:
            return residual_power(prediction, batch.coefficients, self.grid, self.window)[None]
        power = prediction.new_zeros(len(self.kinds), self.grid.n_shells, dtype=torch.float32)
        of = self.kinds.of[batch.index]
        for kind in of.unique():
            mine = of == kind
            left = residual_power(prediction[mine], batch.coefficients[mine], self.grid, self.window)
            power[kind] = left * (mine.sum() / len(of))
        return power

    def shared(self, index: Tensor, noise: Tensor | None = None) -> Batch:
        """This rank's share of a batch of the particles ``index`` ``(b)``, with ``noise`` ``(b k)``."""
        if ranks.size() == 1:
            return self.batch(index, noise=noise)
        mine = ranks.share(index)
        batch = self.batch(mine, noise=None if noise is None else ranks.share(noise))
        return replace(batch, share=Share(index.to(self.device), ranks.counts(len(mine), len(index))))

    def batches(
        self,
        index: Tensor,
        size: int,
        latent_dim: int,
        key: tuple[int, ...],
        skip: int = 0,
        quarantine: Sequence[int] = (),
    ) -> Iterator[Batch]:
        """This rank's shares of the batches that :meth:`draws` draws; those in ``quarantine`` are shared by nobody."""
        for part, noise in self.draws(index, size, latent_dim, key, skip):
            if ranks.size() > 1 and quarantine:
                kept = ~torch.isin(part, torch.tensor(quarantine))
                part, noise = part[kept], noise[kept]
            yield self.shared(part, noise)

    def draws(
        self, index: Tensor, size: int, latent_dim: int, key: tuple[int, ...], skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of ``size`` particles of ``index``, as rows ``(b)`` and noise ``(b k)``, but for the first ``skip``.

        Both are functions of ``key`` alone, the same on every rank. Images that are stored are fetched before their
        turn.
        """
        generator = keyed_generator(*key)
        noise = torch.randn(len(self), latent_dim, generator=generator)
        series = self.series(index)
        order = mixed(series.count(len(index)), generator)
        fetched = done = skip * size
        for number, part in enumerate(order.split(size)[skip:]):
            # A window is fetched as a whole, which disks are quick at, once it is clear that all of it is wanted.
            needed = done + _SOON * size if number < _SURE else (done // WINDOW + 2) * WINDOW
            if needed > fetched:
                self.expect(index[series.images_of(order[fetched:needed])])
                fetched = needed
            rows = index[series.images_of(part)]
            yield rows, noise[rows]
            done += len(part)

    def expect(self, index: Tensor) -> None:
        """Have the images ``index`` ``(b)`` fetched, if they are stored."""
        if self.imaging.stored is not None and len(index):
            self.imaging.stored.expect(self.particles.rows[index.numpy()])


def mixed(count: int, generator: torch.Generator) -> Tensor:
    """So many particles ``(p)`` in a random order: of blocks that lie together, and of the particles of 128 blocks.

    Up to 8192 every order is equally likely. Of more, images are fetched from a disk in pieces that are worth the way,
    and neighbours in the table still are far from each other.
    """
    blocks = torch.arange(count).split(_BLOCK)
    if count > WINDOW:
        blocks = tuple(blocks[i] for i in torch.randperm(len(blocks), generator=generator).tolist())
    return torch.cat([
        window[torch.randperm(len(window), generator=generator)]
        for window in torch.cat(blocks).split(WINDOW)
    ])  # fmt: skip


def keyed_generator(*key: int) -> torch.Generator:
    """A generator whose stream is a function of the whole numbers in ``key``, such as (seed, half, epoch)."""
    words = np.random.SeedSequence(list(key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
