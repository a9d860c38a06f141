"""What was done to images between the particle and the file, and how it is undone: by lens, by ice, by programs.

A model knows one law: an image is the CTF times a projection, plus noise that is the same everywhere. Whatever else the
table tells of an image is taken back where images are read, so that nothing downstream has to know of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from dynaflex.data.preprocess import levelled, paired
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.resample import straightened
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
            alike = paired(torch.from_numpy((self.magnification == matrix).all(axis=(1, 2)).nonzero()[0]))
            images[alike] = straightened(images[alike], grid, matrix)
        changed = paired(torch.from_numpy((self.flipped | self.multiplied).nonzero()[0]))
        if len(changed):
            real = transfer_function(_symmetric(ctf[changed]), grid)
            multiplied = torch.from_numpy(self.multiplied)[changed, None, None]
            factor = torch.where(multiplied, real / (real.square() + _LEAST), real.sign())
            images[changed] = torch.fft.irfft2(torch.fft.rfft2(images[changed]) * factor, s=images.shape[-2:])
        return images


def _symmetric(ctf: CtfParams) -> CtfParams:
    """The optics without what makes a CTF complex: programs multiply images by the real one."""
    return replace(ctf, beam_tilt=torch.zeros_like(ctf.beam_tilt), odd_zernike=ctf.odd_zernike[:, :0])
