"""Projections of a map as central slices of its Fourier transform: quick, and good enough to compare readings with."""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

_PADDING = 2


class CentralSlices:
    """Slices through the transform of a map, read by trilinear interpolation at twice the map's sampling.

    ``grid`` is that of the images. The transform is kept as ``(1 2 e e f)`` with e = 2 d and f = e / 2 + 1, its real
    and imaginary parts as channels, and the zero frequency at the centre of the first two axes.
    """

    def __init__(self, volume: Tensor, grid: Grid) -> None:
        """Prepare a map ``(d d d)`` on ``grid``."""
        self.grid = grid
        axis = grid.axis() / (grid.width * _PADDING)
        # Interpolating linearly in Fourier space multiplies the map by sinc² along each axis; this takes it off.
        flat = torch.sinc(axis).square().reciprocal()
        prepared = volume * flat[:, None, None] * flat[:, None] * flat
        margin = grid.box * (_PADDING - 1) // 2
        padded = torch.nn.functional.pad(prepared, (margin,) * 6)
        coefficients = torch.fft.fftshift(fourier.transform(padded, 3), dim=(0, 1))
        self._channels = torch.view_as_real(coefficients).permute(3, 0, 1, 2)[None].contiguous()

    def take(self, rotation: Tensor, stretch: float = 1.0) -> Tensor:
        """Coefficients ``(b h w)`` of the map seen at ``rotation`` ``(b 3 3)``, by the convention of ``Pose``.

        A ``stretch`` of 1.1 shows the map 10 % larger. The shell of Nyquist and what lies beyond it is zero.
        """
        box, even = self.grid.box, self.grid.box * _PADDING
        kx, ky = (k * self.grid.width * _PADDING * stretch for k in self.grid.frequencies(rotation.device))
        rows = rotation[:, :2].to(kx.dtype)
        place = kx[..., None] * rows[:, 0, None, None, :] + ky[..., None] * rows[:, 1, None, None, :]
        # Only half of the transform is kept; the other half is its conjugate at the opposite place.
        opposite = place[..., :1] < 0
        place = torch.where(opposite, -place, place)
        sides = place.new_tensor([even // 2, even, even])
        start = place.new_tensor([0, even // 2, even // 2])
        # grid_sample wants -1 at the first sample of each axis and 1 at the last.
        position = 2.0 * (place + start) / (sides - place.new_tensor([0, 1, 1])) - 1.0
        read = torch.nn.functional.grid_sample(self._channels, position[None], align_corners=True)[0]
        real, imaginary = read[0], torch.where(opposite[..., 0], -read[1], read[1])
        inside = self.grid.shells(2, rotation.device) < box // 2
        return torch.complex(real, imaginary) * inside
