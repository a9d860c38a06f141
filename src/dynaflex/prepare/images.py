"""The images of particles, as a model sees them: cropped to a grid, normalised, with poses and optics."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from dynaflex import fourier
from dynaflex.cache.stored import StoredImages, rounded
from dynaflex.data import preprocess
from dynaflex.data.particles import Particles
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.shapes import Tensor


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
    ) -> None:
        """``contrast`` ``(p)`` multiplies the CTF; 1 where it is left out."""
        self.particles = particles
        self.image = torch.from_numpy(particles.image)
        """Which image shows each particle, ``(p)``, see :attr:`Particles.image`."""
        self.imaging = imaging
        self.grid = imaging.grid
        self.device = device
        pose = particles.pose.to(torch.device("cpu"))
        if poses is not None:
            with torch.no_grad():
                pose = poses.corrected(torch.arange(len(particles)), pose)
        self.pose: Pose = pose.to(device)
        self.ctf: CtfParams = particles.ctf.to(device)
        self.contrast = torch.ones(len(particles), device=device) if contrast is None else contrast.to(device)

    def __len__(self) -> int:
        return len(self.particles)

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

    def per_image(self, values: Tensor, index: Tensor) -> Tensor:
        """The ``values`` ``(b)`` of the particles ``index`` ``(b)``, averaged over those that have one image.

        Copies of a particle by symmetry share the noise of its image: in a standard error they count once.
        """
        image, number = self.image[index].unique(return_inverse=True)
        if len(image) == len(index):
            return values
        total = values.new_zeros(len(image)).index_add_(0, number.to(values.device), values)
        return total / number.bincount().to(values)

    def batch(self, index: Tensor, *, noise: Tensor | None = None, latents: Tensor | None = None) -> Batch:
        """The particles ``index`` ``(b)``: with the sampler's draws ``noise`` or with ``latents``, each ``(b k)``."""
        where = index.to(self.device)
        return Batch(
            index=where,
            pose=self.pose[where],
            ctf=transfer_function(self.ctf[where], self.grid) * self.contrast[where, None, None],
            read=lambda: fourier.transform(self.normalised(index), 2),
            noise=torch.zeros(0) if noise is None else noise.to(self.device),
            latents=None if latents is None else latents.to(self.device),
        )
