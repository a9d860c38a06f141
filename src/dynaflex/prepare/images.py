"""The images of particles, as a model sees them: cropped to a grid, normalised, with poses and optics."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Self

import torch

from dynaflex import fourier
from dynaflex.cache.stored import StoredImages, rounded
from dynaflex.data import preprocess
from dynaflex.data.particles import Particles
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch, halved
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.noise import residual_power, shell_counts
from dynaflex.imaging.noise_groups import GroupNoise
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.series import ALONE, Series
from dynaflex.shapes import Tensor

_ENOUGH = 256
"""Images of each kind of noise that are looked at on two grids."""


@dataclass(frozen=True)
class Imaging:
    """How raw images become what a model sees: a grid, a sign, and a circle of ``diameter`` Å around the particle.

    The slope of the ice is taken off, and what the table says was done to images is undone. Nothing is masked: the CTF
    spreads signal beyond the particle, and a model does not mask what it predicts. Outside the circle the noise is
    normalised, inside of it the noise is learned. Images that were made ready before are ``stored``.
    """

    grid: Grid
    diameter: float
    edge: float
    sign: float = 1.0
    stored: StoredImages | None = None

    def on(self, grid: Grid) -> Imaging:
        """The same on another grid, on which nothing is stored."""
        return self if grid == self.grid else replace(self, grid=grid, stored=None)

    def normalise(self, particles: Particles, index: Tensor) -> Tensor:
        """The images ``index`` ``(b)``, Fourier-cropped and of unit noise variance, ``(b h h)`` in half precision.

        Raises:
            InputError: one has no noise around the particle.
            ResourceError: they were stored, and are gone.
        """
        if self.stored is not None:
            return self.stored.read(particles.rows[index.numpy()])
        both = preprocess.paired(index)
        restored = particles.restored(particles.images(both.numpy()), both.numpy(), self.diameter)
        return self.of_restored(particles, both, restored)[: len(index)]

    def of_restored(self, particles: Particles, index: Tensor, restored: Tensor) -> Tensor:
        """The same, of two images or more that have been read and restored, ``(b d d)``.

        Raises:
            InputError: one has no noise around the particle.
        """
        images = preprocess.fourier_crop(restored * self.sign, self.grid.box)
        try:
            return rounded(preprocess.normalise(images, self._mask(particles, index)))
        except InputError as error:
            stack, number, row = particles.image_of(int(index[error.row or 0]))
            problem = f"image {number} {error.problem}"
            raise particles.words.error(error.but(problem=problem, file=stack, row=None, found=row)) from error

    def window(self) -> Tensor:
        """The circle around the centre of an image, ``(h h)``, in which the noise is learned."""
        return preprocess.circular_mask(self.grid, self.diameter, self.edge)

    def _mask(self, particles: Particles, index: Tensor) -> Tensor:
        return preprocess.circular_mask(self.grid, self.diameter, self.edge, particles.pose.shift[index])


class ParticleImages:
    """The one way from particles to batches: poses, refined where they were, and optics are at hand, images are read.

    An image is read, cropped and normalised once for every batch of which the coefficients are asked for.
    """

    def __init__(
        self,
        particles: Particles,
        imaging: Imaging,
        device: torch.device,
        poses: PoseRefinement | None = None,
        contrast: Tensor | None = None,
        noise: GroupNoise | None = None,
    ) -> None:
        """``contrast`` ``(p)`` multiplies the CTF; 1 where it is left out. Groups are alike where no ``noise`` is."""
        self.particles = particles
        self.image = torch.from_numpy(particles.image)
        """Which image shows each particle, ``(p)``, see :attr:`Particles.image`."""
        self.particle = torch.from_numpy(particles.particle)
        """Which particle each row shows, ``(p)``, see :attr:`Particles.particle`."""
        self.tilted = particles.tilted is not None
        self.imaging = imaging
        self.grid = imaging.grid
        self.device = device
        pose = particles.pose.to(torch.device("cpu"))
        if poses is not None:
            with torch.no_grad():
                pose = poses.corrected(torch.arange(len(particles)), pose)
        self.pose: Pose = pose.to(device)
        self.ctf: CtfParams = particles.ctf.looked_at().to(device)
        self.contrast = torch.ones(len(particles), device=device) if contrast is None else contrast.to(device)
        self.see(GroupNoise() if noise is None else noise)

    def __len__(self) -> int:
        return len(self.particles)

    def see(self, noise: GroupNoise) -> None:
        """Divide images and CTFs from now on by how the ``noise`` of each optics group differs."""
        self.noise = noise.to(self.device)
        row = noise.rows(self.particles.group) if noise.differs else torch.zeros(0, dtype=torch.int64)
        self._row = row.to(self.device)
        self._factor = self.noise.table().rsqrt()

    def posed(self, pose: Pose) -> Self:
        """The same images of particles in other poses."""
        images = copy(self)
        images.pose = pose.to(self.device)
        return images

    def seen_in(self, noise: GroupNoise) -> Self:
        """The same images, divided by other ``noise``."""
        images = copy(self)
        images.see(noise)
        return images

    def log_normalisers(self, power: Tensor, index: Tensor) -> Tensor:
        """What makes losses of the particles ``index`` ``(b)`` comparable, whatever their noise is, ``(b)``.

        ``power`` ``(s)`` is that of all: see :func:`dynaflex.imaging.noise.log_normaliser`. Double precision.
        """
        found = self.noise.log_normalisers(power, self.grid).to(self.device)
        return found[self._row[index]] if self.noise.differs else found.expand(len(index))

    def normalised(self, index: Tensor) -> Tensor:
        """The images ``index`` ``(b)`` on the device, float32 ``(b h h)``.

        Raises:
            InputError: one cannot be used.
            ResourceError: they were stored, and are gone.
        """
        image, number = self.image[index].unique(return_inverse=True)
        if len(image) == len(index):
            return self.imaging.normalise(self.particles, index).to(self.device).float()
        # Copies of a particle by symmetry have one image, which is read once.
        one = torch.empty_like(image).scatter_(0, number, index)
        return self.imaging.normalise(self.particles, one)[number].to(self.device).float()

    def series(self, index: Tensor) -> Series:
        """Which of the images ``index`` ``(b)`` are of one particle, and share its conformation."""
        return Series(self.particle[index.cpu()]) if self.tilted else ALONE

    def count(self, index: Tensor) -> int:
        """How many particles the rows ``index`` ``(b)`` are, or show."""
        return self.series(index).count(len(index))

    def parts(self, index: Tensor, size: int) -> list[Tensor]:
        """The particles ``index`` ``(b)`` in parts of at most ``size`` images; no particle is torn apart."""
        return [index[part] for part in self.series(index).parts(len(index), size)]

    def some(self, index: Tensor, count: int) -> Tensor:
        """The first ``count`` particles of ``index`` ``(b)``, with all their images."""
        series = self.series(index)
        return index[series.images_of(torch.arange(min(count, series.count(len(index)))))]

    def without(self, index: Tensor) -> Tensor:
        """All rows but ``index`` ``(b)``."""
        outside = torch.ones(len(self), dtype=torch.bool)
        outside[index] = False
        return outside.nonzero()[:, 0]

    def over_series(self, values: Tensor, index: Tensor) -> Tensor:
        """What ``values`` ``(b)`` of the images ``index`` ``(b)`` add up to over those of a particle, for each."""
        if not self.tilted:
            return values
        return self.series(index).shared(values.cpu()).to(values.device)

    def per_particle(self, values: Tensor, index: Tensor) -> Tensor:
        """The ``values`` ``(b)`` of the rows ``index`` ``(b)``, averaged over those that show one particle.

        Copies of a particle by symmetry share the noise of its image, and so does whatever is said of a particle for
        each image of its tilt series: in a standard error they count once.
        """
        particle, number = self.particle[index.cpu()].unique(return_inverse=True)
        if len(particle) == len(index):
            return values
        total = values.new_zeros(len(particle)).index_add_(0, number.to(values.device), values)
        return total / number.bincount().to(values)

    def powers(self, of: Tensor, kinds: int) -> Tensor:
        """The mean power per pixel around the particles of each kind, ``of`` ``(p)``, in every shell, ``(k s)``; of
        some of them, as they are normalised, in no noise. 1 where there is no such particle."""
        window, plain = 1.0 - self.imaging.window().to(self.device), self.seen_in(GroupNoise())
        found = torch.ones(kinds, self.grid.n_shells, device=self.device)
        for kind in of.unique().tolist():
            index = (of == kind).nonzero()[:, 0]
            some = index[:: -(-len(index) // _ENOUGH)]
            images = torch.cat([plain.batch(part).coefficients for part in some.split(_ENOUGH // 8)])
            found[kind] = residual_power(images, torch.zeros_like(images), self.grid, window)
        return found

    def batch(self, index: Tensor, *, noise: Tensor | None = None, latents: Tensor | None = None) -> Batch:
        """The particles ``index`` ``(b)``: with the sampler's draws ``noise`` or with ``latents``, each ``(b k)``."""
        # Whenever it is read, an image is in the noise that its CTF is in.
        now, where = copy(self), index.to(self.device)
        return Batch(
            index=where,
            pose=self.pose[where],
            ctf=halved(now._seen_by, where),
            read=lambda: halved(now._coefficients, index),
            noise=torch.zeros(0) if noise is None else noise.to(self.device),
            latents=None if latents is None else latents.to(self.device),
            particle=self.particle[index.cpu()].to(self.device) if self.tilted else self.particle[:0],
        )

    def _seen_by(self, where: Tensor) -> Tensor:
        """What the microscope makes of the particles ``where`` ``(b)``, on the device, ``(b h w)``."""
        ctf = transfer_function(self.ctf[where], self.grid) * self.contrast[where, None, None]
        return self._in_noise_of_all(ctf, where)

    def _coefficients(self, index: Tensor) -> Tensor:
        """The transforms ``(b h w)`` of the images ``index`` ``(b)``."""
        return self._in_noise_of_all(fourier.transform(self.normalised(index), 2), index)

    def _in_noise_of_all(self, values: Tensor, index: Tensor) -> Tensor:
        if not self.noise.differs:
            return values
        shells = self.grid.shells(2, self.device).clamp(max=self.grid.n_shells - 1)
        return values * self._factor[self._row[index.to(self.device)]][:, shells]


def seen_as_on(learned: Imaging, images: ParticleImages, noise: GroupNoise) -> ParticleImages:
    """The ``images`` in ``noise`` that was ``learned`` on a grid of another box, as wide.

    Images are normalised by the noise of all frequencies that a grid has. Where its colour differs between groups, so
    does by how much images are fainter on one grid than on the other: both are read to compare them where both have
    frequencies. Beyond, the noise of a group is to that of all as its images are around the particles.
    """
    if images.grid == learned.grid or not noise.differs:
        return images.seen_in(noise)
    row = noise.rows(images.particles.group)
    kinds, kind = torch.unique(noise.table(), dim=0, return_inverse=True)
    of = kind[row.to(kind.device)].cpu()
    there = ParticleImages(images.particles, learned, images.device)
    both = min(images.grid.n_shells, there.grid.n_shells) - 1
    powers, shared = images.powers(of, len(kinds)), there.powers(of, len(kinds))
    counts = shell_counts(there.grid, images.device)[:both]
    fainter = (powers[:, :both] @ counts) / (shared[:, :both] @ counts)
    share = of.bincount(minlength=len(kinds)).to(fainter) / len(of)
    fainter = fainter / (share @ fainter)
    relative = powers / (share @ powers)
    relative[:, :both] = kinds.to(fainter)[:, :both] * fainter[:, None]
    seen = images.seen_in(GroupNoise(noise.numbers, relative[kind[:-1].to(relative.device)]))
    seen.contrast = images.contrast * fainter.sqrt()[of.to(fainter.device)]
    return seen
