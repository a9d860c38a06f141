"""The part of the box that is shown: a cube around the molecule and wherever it goes, on few enough voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, map_coordinates

from dynaflex import fourier
from dynaflex.density.contour import Coarse, level_enclosing
from dynaflex.grid import Grid
from dynaflex.shapes import FloatArray, Tensor

_EDGE = 6.0
"""Å over which density fades to nothing around the molecule, and room left around where it goes."""


@dataclass(frozen=True)
class Window:
    """A cube of voxels: ``grid`` with its centre voxel at ``center`` ``(3)``, x y z in Å from the centre of the box.

    In the full map, on the grid ``full``, it has ``side`` voxels from the voxel ``first`` (x, y, z) on.
    """

    full: Grid
    first: tuple[int, int, int]
    side: int
    grid: Grid

    @classmethod
    def around(cls, points: Tensor, full: Grid, largest: int) -> Window:
        """The smallest cube with some room around ``points`` ``(n 3)`` in Å, of at most ``largest`` voxels a side."""
        room = _EDGE + full.pixel_size
        low = ((points.amin(dim=0) - room) / full.pixel_size).floor().long() + full.center
        high = ((points.amax(dim=0) + room) / full.pixel_size).ceil().long() + full.center
        side = min(full.box, 2 * (int((high - low).max()) // 2 + 1))
        first = ((low + high + 1) // 2 - side // 2).clamp(0, full.box - side).tolist()
        return cls(full, (first[0], first[1], first[2]), side, _cropped(full, side, largest))

    def coarser(self, largest: int) -> Window:
        """The same cube on at most ``largest`` voxels a side."""
        return Window(self.full, self.first, self.side, _cropped(self.full, self.side, largest))

    @property
    def center(self) -> Tensor:
        """Where the voxel ``grid.center`` lies: x, y, z in Å from the centre of the box, ``(3)``."""
        middle = torch.tensor(self.first) + self.side // 2 - self.full.center
        return middle.float() * self.full.pixel_size

    def points(self) -> Tensor:
        """Voxel centres ``(d³ 3)``, x y z in Å, origin at the centre of the full box, in the order of ``[z, y, x]``."""
        return self.grid.points() + self.center

    def cut(self, volume: Tensor) -> Tensor:
        """The window of a map ``(d d d)`` on the full grid, Fourier-cropped or padded to the voxels of the window."""
        return fourier.resize(self._part(volume).contiguous(), self.grid.box, 3)

    def sampled(self, volume: FloatArray) -> FloatArray:
        """The window of a map without being band-limited: values interpolated linearly, for resolutions and errors."""
        position = (self.points() / self.full.pixel_size + self.full.center).T.flip(0).numpy()
        values = map_coordinates(volume, position, order=1, mode="nearest")
        return np.asarray(values, dtype=np.float32).reshape((self.grid.box,) * 3)

    def read(self, values: FloatArray, points: Tensor) -> FloatArray:
        """Values ``(d d d)`` of the window at points ``(n 3)`` in Å: linear between voxels, the nearest beyond."""
        position = ((points - self.center) / self.grid.pixel_size + self.grid.center).T.flip(0).numpy()
        return np.asarray(map_coordinates(values, position, order=1, mode="nearest"), dtype=np.float32)

    def _part(self, volume: Tensor) -> Tensor:
        x, y, z = self.first
        return volume[z : z + self.side, y : y + self.side, x : x + self.side]


@dataclass(frozen=True)
class Molecule:
    """Where density is shown at all: ``weight`` ``(d d d)`` is 1 in the molecule, 0 in the solvent, smooth between.

    ``enclosed`` is the number of voxels that the contour encloses that leaves the solvent out.
    """

    weight: Tensor
    enclosed: int

    @classmethod
    def of(cls, coarse: Coarse, grid: Grid) -> Molecule:
        """The molecule in a map that is seen coarsely."""
        outside = (coarse.volume < 0.5 * coarse.threshold).numpy()
        distance = torch.from_numpy(distance_transform_edt(outside, sampling=grid.pixel_size)).float()
        weight = 0.5 + 0.5 * torch.cos(torch.pi * (distance / max(_EDGE, 2 * grid.pixel_size)).clamp(0.0, 1.0))
        return cls(weight, coarse.filled)

    def level(self, volume: Tensor) -> float:
        """The level at which a map on the same grid encloses as many voxels."""
        return level_enclosing(volume, self.enclosed)


def _cropped(full: Grid, side: int, largest: int) -> Grid:
    """A cube of ``side`` voxels on twice as many, which makes surfaces smooth, but on no more than ``largest``."""
    return Grid(side, full.pixel_size).cropped(min(2 * side, largest))
