"""Voxels carried by tetrahedra: inside the trained mesh by its own cells, around it by those of a covering lattice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import cKDTree

from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose, project
from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.mesh.build import lattice
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cell_of_voxels
from dynaflex.reconstruct.field import FAR, Field, Region, faded
from dynaflex.shapes import Tensor

VertexDisplacement = Callable[[Tensor], Tensor]

_EDGE = 10.0
_FEWEST_VOXELS_ALONG_AN_EDGE = 5
"""Of a cube of the covering lattice: fewer would leave the kernel hardly anything to do per tetrahedron."""

_BYTES_PER_VOXEL, _BYTES_PER_PIXEL, _BYTES_AT_ANY_SIZE = 290, 80, 1 << 25


class MeshField(Field):
    """All voxels of a region, carried by a mesh and, outside of it, by a lattice that covers the rest.

    ``vertex_displacement(latents (b k))`` moves the vertices of ``mesh``, ``(b v 3)`` in Å. With ``labels``
    ``(d d d)`` int a voxel labelled s is carried by cells of segment s only. A vertex of the lattice moves like the
    nearest voxel of the mesh, up to 15 Å away; from there on the motion fades and ends at 30 Å. So the solvent is
    stretched rather than torn.
    """

    def __init__(
        self,
        region: Region,
        mesh: TetMesh,
        vertex_displacement: VertexDisplacement,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__(region)
        grid, device = region.grid, region.device
        self.vertex_displacement = vertex_displacement
        mesh = mesh.to(torch.device("cpu"))
        voxels, points = region.voxels.cpu(), region.points.cpu()
        cell = cell_of_voxels(mesh, grid, labels).view(-1)[voxels]
        vertices, cells = mesh.vertices, mesh.cells
        outside = cell < 0
        self._follow: Tensor | None = None
        if bool(outside.any()):
            cover = _cover(grid, voxels[outside])
            cell[outside] = len(cells) + cell_of_voxels(cover, grid).view(-1)[voxels[outside]]
            follow = _followed(cover.vertices, mesh, points[~outside], cell[~outside], grid.pixel_size)
            self._follow = _sparse_tensor(follow).to(device)
            vertices = torch.cat([vertices, cover.vertices])
            cells = torch.cat([cells, len(mesh.vertices) + cover.cells])
        self.vertices = vertices.to(device)
        self.table = MeshTable(vertices, cells, points, cell, grid.pixel_size).to(device)

    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b v 2)`` in Å of all vertices, the mesh's first, in memory as ``(b 2 v)``."""
        positions = project(self.vertices, pose)
        if latents is None:
            return positions
        moved = torch.bmm(pose.rotation[:, :2, :], self.vertex_displacement(latents).transpose(1, 2))
        if self._follow is not None:
            flat = moved.reshape(2 * len(latents), -1)
            around = (self._follow @ flat.T.contiguous()).T.reshape(len(latents), 2, -1)
            moved = torch.cat([moved, around], dim=2)
        positions.transpose(1, 2).add_(moved)
        return positions


def required_memory(grid: Grid, images_at_once: int) -> int:
    """How many bytes a reconstruction with a :class:`MeshField` takes at most, whatever the number of particles.

    Most is needed while what was put into Fourier space becomes the equations of the rigid map, beside the tables of
    the voxels. To it come the images of one batch with their intermediate copies. The particles' own file and the model
    are not counted.
    """
    images = _BYTES_PER_PIXEL * images_at_once * grid.box**2
    return _BYTES_AT_ANY_SIZE + _BYTES_PER_VOXEL * grid.box**3 + images


def _cover(grid: Grid, voxels: Tensor) -> TetMesh:
    """A lattice of tetrahedra over the ``voxels`` ``(m)`` of the box."""
    where = torch.zeros(grid.box**3, dtype=torch.bool)
    where[voxels] = True
    edge = max(_EDGE, _FEWEST_VOXELS_ALONG_AN_EDGE * grid.pixel_size)
    return lattice(where.view(grid.box, grid.box, grid.box), grid, max(1, round(grid.width / edge)))


def _followed(around: Tensor, mesh: TetMesh, points: Tensor, cell: Tensor, reach: float) -> sparse.csr_matrix:
    """How the vertices ``around`` ``(o 3)`` move with those of the mesh, ``(o v)``.

    Each takes the motion at the nearest of the ``points`` ``(m 3)`` that the mesh carries in ``cell`` ``(m)``, or at
    most ``reach`` Å from it on the way to the vertex itself, so that a vertex inside the mesh moves exactly with it.
    """
    shape = (len(around), len(mesh.vertices))
    if not len(points):
        return sparse.csr_matrix(shape)
    distance, nearest = cKDTree(points.numpy()).query(around.numpy(), distance_upper_bound=FAR)
    rows = np.flatnonzero(np.isfinite(distance))
    apart = torch.from_numpy(distance[rows]).float()
    home = torch.from_numpy(nearest[rows])
    way = around[rows] - points[home]
    at = points[home] + way * (reach / apart.clamp(min=reach))[:, None]
    weights = mesh.barycentric(at, cell[home]) * faded(apart)[:, None]
    columns = mesh.cells[cell[home]].numpy()
    entries = (weights.numpy().reshape(-1), (rows.repeat(4), columns.reshape(-1)))
    return sparse.csr_matrix(entries, shape=shape)


def _sparse_tensor(matrix: sparse.csr_matrix) -> Tensor:
    """A scipy matrix as a coalesced float32 tensor."""
    entries = matrix.tocoo()
    where = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
    values = torch.from_numpy(entries.data.astype(np.float32))
    # The order is scipy's, rows first: what torch calls coalesced.
    return torch.sparse_coo_tensor(where, values, matrix.shape, is_coalesced=True, check_invariants=True)
