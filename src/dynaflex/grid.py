"""The only birthplace of coordinates, frequencies and Fourier shells."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class Grid:
    """A square image or a cubic volume: ``box`` samples a side, ``pixel_size`` Å apart, origin at sample ``box // 2``.

    Fourier transforms are kept in the layout of ``torch.fft.rfftn``: the last axis holds the ``box // 2 + 1``
    non-negative frequencies, the others all of them in FFT order. Their phase origin is the centre of the box.
    """

    box: int
    pixel_size: float

    @property
    def width(self) -> float:
        """The length of a side in Å."""
        return self.box * self.pixel_size

    @property
    def center(self) -> int:
        """The sample at the origin."""
        return self.box // 2

    @property
    def nyquist(self) -> float:
        """The highest frequency, in 1/Å."""
        return 0.5 / self.pixel_size

    @property
    def n_shells(self) -> int:
        """The number of Fourier shells from 0 up to and including Nyquist."""
        return self.box // 2 + 1

    def axis(self, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Coordinates of the samples along one axis, in Å, ``(box,)``."""
        return (torch.arange(self.box, device=device, dtype=dtype) - self.center) * self.pixel_size

    def points(self, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Voxel centres of the volume as points (x, y, z) in Å, ``(box³, 3)``, in the memory order of ``[z, y, x]``."""
        axis = self.axis(device, dtype)
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        return torch.stack([x, y, z], dim=-1).reshape(-1, 3)

    def nearest(self, points: Tensor) -> Tensor:
        """The indices x, y, z ``(n 3)`` of the voxels nearest to ``points`` ``(n 3)`` in Å, which may lie outside."""
        return (points / self.pixel_size).round().long() + self.center

    def radius_of_points(self, device: torch.device | None = None) -> Tensor:
        """Distance of every voxel from the origin in Å, ``(box³)``, in the memory order of ``[z, y, x]``."""
        return self.points(device).norm(dim=1)

    def frequencies(
        self, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Frequencies (x, y) of an image's rfft in 1/Å, broadcastable to ``(box, box // 2 + 1)``."""
        kx = torch.fft.rfftfreq(self.box, self.pixel_size, device=device, dtype=dtype)
        ky = torch.fft.fftfreq(self.box, self.pixel_size, device=device, dtype=dtype)
        return kx[None, :], ky[:, None]

    def radius(self, dim: int, device: torch.device | None = None) -> Tensor:
        """Distance of every rfft coefficient from the origin, in Fourier samples, for ``dim`` 2 or 3."""
        half = torch.arange(self.box // 2 + 1, device=device, dtype=torch.float32)
        full = torch.fft.fftfreq(self.box, 1.0 / self.box, device=device)
        axes = torch.meshgrid(*([full] * (dim - 1)), half, indexing="ij")
        return torch.stack(list(axes)).square().sum(0).sqrt()

    def shells(self, dim: int, device: torch.device | None = None) -> Tensor:
        """RELION's shell of every rfft coefficient: its radius rounded to the nearest integer, as int64."""
        return (self.radius(dim, device) + 0.5).floor().long()

    def shell_frequencies(self) -> Tensor:
        """The frequency of every shell up to Nyquist, in 1/Å, ``(box // 2 + 1,)``."""
        return torch.arange(self.n_shells, dtype=torch.float64) / self.width

    def cropped(self, box: int) -> Grid:
        """The grid after Fourier-cropping to ``box`` samples: same width, coarser pixels."""
        return Grid(box, self.width / box)
