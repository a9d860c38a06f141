"""A deformation that moves the vertices of a mesh, and all between them along."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from typing import Self

import torch
from scipy.spatial import cKDTree

from dynaflex.deformation.base import Deformation, Moves, interpolated
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Tensor


class OnMesh(Deformation):
    """Vertex displacements, interpolated linearly inside every tetrahedron; what moves the vertices is the subclass.

    ``sites`` ``(m 3)`` in Å, ``spacing`` apart, are the voxels of the map and ``site_cell`` ``(m)`` the cell that
    carries each: where cells of different segments overlap, a point moves with the cell of the voxel it is nearest to.
    """

    vertices: Tensor
    cells: Tensor
    stiffness: Tensor
    segment: Tensor
    fixed: Tensor
    sites: Tensor
    site_cell: Tensor

    def __init__(self, mesh: TetMesh, sites: Tensor, site_cell: Tensor, spacing: float) -> None:
        super().__init__()
        # Buffers, so that a checkpoint holds the mesh; the sites are those of the map beside it.
        self.register_buffer("vertices", mesh.vertices)
        self.register_buffer("cells", mesh.cells)
        self.register_buffer("stiffness", mesh.weights)
        self.register_buffer("segment", mesh.segment)
        self.register_buffer("fixed", mesh.fixed)
        self.register_buffer("sites", sites, persistent=False)
        self.register_buffer("site_cell", site_cell, persistent=False)
        self.reach = spacing * math.sqrt(3.0)
        self._tree = cKDTree(sites.cpu().numpy())

    @abstractmethod
    def vertex_displacement(self, latents: Tensor) -> Tensor:
        """Displacements ``(b v 3)`` in Å of the vertices from where the mesh has them to latents ``(b k)``; in memory
        as ``(b 3 v)``."""

    @abstractmethod
    def _rest_at(self, origin: Tensor) -> None:
        """Displace from the conformation ``origin`` ``(k)`` from now on."""

    @property
    def mesh(self) -> TetMesh:
        """The mesh at rest."""
        return TetMesh(self.vertices, self.cells, self.stiffness, self.segment, self.fixed)

    def rebased(self, origin: Tensor) -> Self:
        """The same motion with the conformation ``origin`` ``(k)`` at rest: mesh, sites and all stand where it is.

        A mesh that has moved is a mesh; going from one conformation to another is affine in its cells again.
        """
        changed = copy.deepcopy(self)
        changed.sites = self.sites + self.displacement(origin[None], self.sites)[0].detach()
        changed.vertices = self.vertices + self.vertex_displacement(origin[None])[0].detach()
        changed._rest_at(origin)
        changed._tree = cKDTree(changed.sites.cpu().numpy())
        return changed

    def carry(self, latents: Tensor, points: Tensor) -> Tensor:
        """Destinations ``(b v 3)`` of the vertices, which carry the density's ``points`` from wherever they rest."""
        return self.vertices + self.vertex_displacement(latents)

    def at(self, points: Tensor) -> Moves:
        """What maps latents to the displacements of points ``(n 3)``; one outside the mesh moves like the nearest
        site."""
        distance, site = self._tree.query(points.detach().cpu().numpy())
        nearest = torch.from_numpy(site).to(points.device)
        inside = torch.from_numpy(distance <= self.reach).to(points.device)
        where = torch.where(inside[:, None], points, self.sites[nearest].to(points.dtype))
        cell = self.site_cell[nearest]
        corners, weights = self.cells[cell], self.mesh.barycentric(where, cell)
        return lambda latents: interpolated(self.vertex_displacement(latents), corners, weights)
