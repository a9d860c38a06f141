"""Where every voxel of the consensus map goes in each particle, and from there into its image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import cKDTree

from dynaflex.deformation.base import Moves
from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose, project
from dynaflex.imaging.splat import gather, splat
from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.shapes import Tensor

Motion = Callable[[Tensor], Moves]
"""``motion(points)`` is what maps latents ``(b k)`` to the displacements ``(b n 3)`` in Å of points ``(n 3)``."""

Displacement = Callable[[Tensor, Tensor], Tensor]
"""``displacement(latents, points)``: the same, of whoever has nothing to prepare for points."""

NEAR, FAR = 15.0, 30.0
"""A motion is kept up to 15 Å from where it was learned and fades to nothing at 30 Å."""


class Field(ABC):
    """The n voxels inside the sphere that fits into the box, and how they are seen in the images of moving particles.

    ``points`` ``(n 3)`` in Å are the voxels at rest. A field either moves each of them, or carries them by a mesh: then
    :meth:`image_points` are those of the mesh's vertices and ``table`` says which tetrahedron carries which voxel.
    """

    table: MeshTable | None = None

    def __init__(self, grid: Grid, device: torch.device) -> None:
        self.grid = grid
        radius = grid.radius_of_points(device)
        self.voxels = (radius < grid.width / 2 - 2 * grid.pixel_size).nonzero()[:, 0]
        self.points = grid.points(device)[self.voxels]

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

    def to_volume(self, values: Tensor) -> Tensor:
        """Values of the field's voxels ``(n)`` as a volume ``(d d d)``, zero elsewhere."""
        volume = values.new_zeros(self.grid.box**3)
        volume[self.voxels] = values
        return volume.view(self.grid.box, self.grid.box, self.grid.box)

    def from_volume(self, volume: Tensor) -> Tensor:
        """The field's voxels ``(n)`` of a volume ``(d d d)``."""
        return volume.reshape(-1)[self.voxels]


class VoxelField(Field):
    """Voxels that are each carried by a displacement.

    The ``motion`` is asked once about the points of a grid two times coarser, whose even samples are voxels; what lies
    between is interpolated linearly, so an affine displacement is exact.
    ``None`` leaves every voxel where it is: the rigid control. A learned displacement means something only near the
    ``anchors`` ``(m 3)`` it was learned at: it is kept up to 15 Å from them and fades to nothing at 30 Å.
    """

    def __init__(self, grid: Grid, motion: Motion | None, device: torch.device, anchors: Tensor | None = None) -> None:
        super().__init__(grid, device)
        self._moves: Moves | None = None
        if motion is not None:
            self._moves = motion(self._prepare_interpolation(anchors, device))

    def _prepare_interpolation(self, anchors: Tensor | None, device: torch.device) -> Tensor:
        """Choose the coarse samples that move, ``(m 3)`` in Å, and how every voxel is made of them."""
        samples = self.grid.box // 2 + 1
        axis = (torch.arange(samples) * 2.0 - self.grid.center) * self.grid.pixel_size
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        coarse = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
        fade = torch.ones(len(coarse))
        if anchors is not None:
            fade = faded(torch.from_numpy(cKDTree(anchors.cpu().numpy()).query(coarse.numpy())[0]).float())
        matrix = _interpolation(self.grid.box, self.voxels.cpu().numpy())
        matrix = matrix[:, np.flatnonzero(fade.numpy() > 0)]
        moving = np.flatnonzero(np.diff(matrix.indptr))
        self._fade = fade[fade > 0].to(device)
        self._moving = torch.from_numpy(moving).to(device)
        self._interpolate = sparse_tensor(matrix[moving]).to(device)
        return coarse[fade > 0].to(device)

    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b n 2)`` in Å of the voxels, in memory as ``(b 2 n)``."""
        positions = project(self.points, pose)
        if self._moves is None or latents is None:
            return positions
        moved = self._moves(latents) * self._fade[:, None]
        flat = torch.bmm(pose.rotation[:, :2, :], moved.transpose(1, 2)).reshape(2 * len(latents), -1)
        fine = (self._interpolate @ flat.T.contiguous()).T.reshape(len(latents), 2, -1)
        positions.transpose(1, 2)[:, :, self._moving] += fine
        return positions


def unprepared(displacement: Displacement) -> Motion:
    """A displacement as a motion."""
    return lambda points: lambda latents: displacement(latents, points)


def faded(distance: Tensor) -> Tensor:
    """How much of a motion is left at ``distance`` Å from where it was learned: 1 up to 15 Å, 0 from 30 Å."""
    return 0.5 + 0.5 * torch.cos(torch.pi * ((distance - NEAR) / (FAR - NEAR)).clamp(0.0, 1.0))


def sparse_tensor(matrix: sparse.csr_matrix) -> Tensor:
    """A scipy matrix as a coalesced float32 tensor."""
    entries = matrix.tocoo()
    where = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
    values = torch.from_numpy(entries.data.astype(np.float32))
    # The order is scipy's, rows first: what torch calls coalesced.
    return torch.sparse_coo_tensor(where, values, matrix.shape, is_coalesced=True, check_invariants=True)


def _interpolation(box: int, voxels: np.ndarray) -> sparse.csr_matrix:
    """The sparse matrix that makes voxels ``(n)`` from samples of the coarse grid: the means of their neighbours."""
    samples = box // 2 + 1
    z, y, x = np.unravel_index(voxels, (box, box, box))
    rows = np.arange(len(voxels))
    total = sparse.csr_matrix((len(voxels), samples**3))
    for corner in range(8):
        up = [corner >> bit & 1 for bit in range(3)]
        near = [(index + side) // 2 for index, side in zip((z, y, x), up, strict=True)]
        column = (near[0] * samples + near[1]) * samples + near[2]
        total = total + sparse.csr_matrix((np.full(len(rows), 0.125), (rows, column)), shape=total.shape)
    return total
