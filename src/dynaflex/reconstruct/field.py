"""Where every voxel of the consensus map goes in each particle, and from there into its image."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from scipy.ndimage import distance_transform_edt

from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.splat import gather, splat
from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.shapes import Tensor

NEAR, FAR = 15.0, 30.0
"""A motion is kept up to 15 Å from where it was learned and fades to nothing at 30 Å."""

MARGIN = 20.0
"""Å around a mask within which density is looked for. The CTF spreads signal in the images, which are whole, not in the
map; what a mask has missed beyond disturbs the map within about a wavelength, and waves that are longer than this are
those that both halves start from."""


class Region:
    """The n voxels of a grid that a reconstruction is about.

    ``voxels`` ``(n)`` are their places in the memory of a volume and ``points`` ``(n 3)`` in Å where they rest.
    """

    def __init__(self, grid: Grid, voxels: Tensor) -> None:
        self.grid, self.voxels = grid, voxels
        self.points = grid.points(voxels.device)[voxels]

    @classmethod
    def sphere(cls, grid: Grid, device: torch.device) -> Region:
        """The voxels inside the sphere that fits into the box."""
        inside = grid.radius_of_points(device) < grid.width / 2 - 2 * grid.pixel_size
        return cls(grid, inside.nonzero()[:, 0])

    @classmethod
    def around(cls, mask: Tensor, grid: Grid) -> Region:
        """The voxels of the sphere within :data:`MARGIN` of where a mask ``(d d d)`` is above 0.5."""
        away = torch.from_numpy(distance_transform_edt((mask <= 0.5).cpu().numpy(), grid.pixel_size))
        sphere = cls.sphere(grid, mask.device)
        return cls(grid, sphere.voxels[sphere.from_volume((away <= MARGIN).to(mask.device))])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.voxels.device

    def __len__(self) -> int:
        return len(self.voxels)

    def to_volume(self, values: Tensor) -> Tensor:
        """Values of the voxels ``(n)`` as a volume ``(d d d)``, zero elsewhere."""
        volume = values.new_zeros(self.grid.box**3)
        volume[self.voxels] = values
        return volume.view(self.grid.box, self.grid.box, self.grid.box)

    def from_volume(self, volume: Tensor) -> Tensor:
        """The voxels ``(n)`` of a volume ``(d d d)``."""
        return volume.reshape(-1)[self.voxels]


class Field(ABC):
    """How the voxels of a ``region`` are seen in the images of moving particles.

    A field either moves each voxel, or carries them by a mesh: then :meth:`image_points` are those of the mesh's
    vertices and ``table`` says which tetrahedron carries which voxel.
    """

    table: MeshTable | None = None

    def __init__(self, region: Region) -> None:
        self.region = region

    @property
    def grid(self) -> Grid:
        """The grid of the map, and of the images."""
        return self.region.grid

    @abstractmethod
    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b p 2)`` in Å, in memory as ``(b 2 p)``; without latents, nothing moves."""

    def splat(self, values: Tensor, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image coefficients ``(b h w)`` of voxels ``values`` ``(n)`` in b particles with ``latents`` ``(b k)``."""
        return splat(self.image_points(latents, pose), values, self.grid, self.table)

    def gather(self, coefficients: Tensor, latents: Tensor | None, pose: Pose) -> Tensor:
        """The adjoint of :meth:`splat`: images ``(b h w)`` read where the voxels are, and summed, ``(n)``."""
        return gather(self.image_points(latents, pose), coefficients, self.grid, self.table)

    def splat_and_gather(self, values: Tensor, weights: Tensor, latents: Tensor | None, pose: Pose) -> Tensor:
        """Voxels ``(n)`` to images, times ``weights`` ``(b h w)``, and back: the voxels are moved once for both."""
        points = self.image_points(latents, pose)
        return gather(points, splat(points, values, self.grid, self.table) * weights, self.grid, self.table)


def faded(distance: Tensor) -> Tensor:
    """How much of a motion is left at ``distance`` Å from where it was learned: 1 up to 15 Å, 0 from 30 Å."""
    return 0.5 + 0.5 * torch.cos(torch.pi * ((distance - NEAR) / (FAR - NEAR)).clamp(0.0, 1.0))
