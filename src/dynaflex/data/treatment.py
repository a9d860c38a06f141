"""What was done to images between the particle and the file, and how it is undone: by lens, by ice, by programs.

A model knows one law: an image is the CTF times a projection, plus noise that is the same everywhere. Whatever else the
table tells of an image is taken back where images are read, so that nothing downstream has to know of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from dynaflex.data import preprocess
from dynaflex.data.resample import interpolation
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.shapes import Array, BoolArray, IntArray, Tensor

# A magnification nearer to the identity moves the edge of a box of 400 pixels by a fiftieth of a pixel.
_SAME = 1e-4
# What a hundredth of the full contrast carries is left out, not blown up: 1.5 % of the noise, nothing of the signal.
_LEAST = 0.01**2


@dataclass(frozen=True)
class Treatment:
    """What p images have gone through.

    ``magnification`` ``(p 2 2)`` is RELION's matrix M: an image with frequency k shows the projection at M k. The CTF
    is that of M k too. Images that were ``flipped`` ``(p)`` are multiplied by the sign of their CTF, those
    ``multiplied`` ``(p)`` by the CTF itself.
    """

    magnification: Array
    flipped: BoolArray
    multiplied: BoolArray

    def take(self, positions: IntArray) -> Treatment:
        """That of the images at ``positions``, in that order."""
        return Treatment(self.magnification[positions], self.flipped[positions], self.multiplied[positions])

    @property
    def stretched(self) -> BoolArray:
        """Which images are magnified more in one direction, or by another factor, than their pixel size says."""
        off: BoolArray = np.abs(self.magnification - np.eye(2)).max(axis=(1, 2)) > _SAME
        return off

    def straight(self, shift: Array) -> Array:
        """Where particles at ``shift`` ``(p 2)`` lie once their images are :meth:`undone`, in Å."""
        moved: Array = np.einsum("pji,pj->pi", np.linalg.inv(self._lens), shift)
        return moved

    @property
    def fainter(self) -> Array:
        """The factor ``(p)`` by which a particle that is spread over a larger area shows less in every pixel."""
        factor: Array = 1.0 / np.linalg.det(self._lens)
        return factor

    @property
    def _lens(self) -> Array:
        """The magnification, or the identity where nothing is made of it."""
        matrix: Array = np.where(self.stretched[:, None, None], self.magnification, np.eye(2))
        return matrix

    def undone(self, images: Tensor, ctf: CtfParams, grid: Grid, diameter: float) -> Tensor:
        """Images ``(p h h)`` as the CTF times a projection, plus noise of the same power everywhere.

        The slope of the ice is taken off first: to what is periodic, it is a step at the edge that a CTF would smear.
        """
        images = levelled(images, grid, diameter)
        for matrix in np.unique(self.magnification[self.stretched], axis=0):
            alike = torch.from_numpy((self.magnification == matrix).all(axis=(1, 2)))
            images[alike] = straightened(images[alike], grid, matrix)
        changed = torch.from_numpy((self.flipped | self.multiplied).nonzero()[0])
        if len(changed):
            real = transfer_function(_symmetric(ctf[changed]), grid)
            multiplied = torch.from_numpy(self.multiplied)[changed, None, None]
            factor = torch.where(multiplied, real / (real.square() + _LEAST), real.sign())
            images[changed] = torch.fft.irfft2(torch.fft.rfft2(images[changed]) * factor, s=images.shape[-2:])
        return images


def levelled(images: Tensor, grid: Grid, diameter: float) -> Tensor:
    """Images ``(b h h)`` without the slope of the plane nearest to what lies outside the circle of ``diameter`` Å.

    The offset stays, and an image that is constant is not changed at all.

    Raises:
        UsageError: the circle leaves no background.
    """
    outside, fit, axes = _planes(grid, diameter)
    slopes = images.flatten(1)[:, outside].double() @ fit
    return images - (slopes @ axes).to(images.dtype).view_as(images)


@lru_cache(maxsize=4)
def _planes(grid: Grid, diameter: float) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels outside the circle ``(n)``, what makes their values slopes along x and y ``(n 2)``, and the planes of
    unit slope ``(2 h²)``."""
    axis = grid.axis(dtype=torch.float64) / grid.width
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    disc = (x.square() + y.square()).sqrt() * grid.width <= 0.5 * diameter
    preprocess.require_background(disc.float())
    axes = torch.stack([x.flatten(), y.flatten()])
    outside = (~disc).flatten().nonzero()[:, 0]
    centred = axes[:, outside] - axes[:, outside].mean(dim=1, keepdim=True)
    return outside, torch.linalg.solve(centred @ centred.T, centred).T, axes


def straightened(images: Tensor, grid: Grid, magnification: Array) -> Tensor:
    """Images ``(b h h)`` as they would be without this ``magnification`` ``(2 2)``: the value at Mᵀx is taken to x.

    Two shears, each a shift of rows or columns, and a change of sampling, all of them exact for what a Fourier series
    holds: noise keeps its power.
    """
    (a, b), (c, d) = magnification.T
    along_y = float(d)
    along_x = float((a * d - b * c) / d)
    images = _sheared(images, grid, float(b / d))
    images = _sheared(images.transpose(1, 2), grid, float(c / along_x)).transpose(1, 2)
    x, y = (
        torch.from_numpy(interpolation(grid, replace(grid, pixel_size=grid.pixel_size * along)))
        for along in (along_x, along_y)
    )
    return y @ images @ x.T


def _sheared(images: Tensor, grid: Grid, slope: float) -> Tensor:
    """Images ``(b h h)`` whose value at (x, y) is that at (x + ``slope`` y, y) of those given."""
    kx, _ = grid.frequencies(dtype=torch.float64)
    angle = 2.0 * torch.pi * slope * grid.axis(dtype=torch.float64)[:, None] * kx
    phase = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
    return torch.fft.irfft(torch.fft.rfft(images) * phase, n=grid.box)


def _symmetric(ctf: CtfParams) -> CtfParams:
    """The optics without what makes a CTF complex: programs multiply images by the real one."""
    return replace(ctf, beam_tilt=torch.zeros_like(ctf.beam_tilt), odd_zernike=ctf.odd_zernike[:, :0])
