"""The canonical map of 3DFlex: voxels of a map, carried by the tetrahedra of a mesh."""

from __future__ import annotations

import copy

import torch

from dynaflex import fourier
from dynaflex.density.base import Density
from dynaflex.grid import Grid
from dynaflex.imaging.spread import spread
from dynaflex.kernels import MeshTable
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Tensor

_LANDMARKS = 2000


class CanonicalMap(Density):
    """The map V on the voxels that lie in a mesh; each is carried to ``u(y)`` and leaves its whole value there.

    The convected map is ``W(x) = sum_y k(x - u(y)) V(y)``. W is never stored: its projection is the splat of the
    carried voxels, with the cubic spline as k, divided out again in Fourier space. Density is conserved because every
    voxel arrives somewhere. Implements [3DF 4].

    ``cell`` ``(d d d)`` says which tetrahedron carries each voxel of ``grid``, -1 for none; ``values`` ``(n)`` are the
    voxels in the memory order of ``[z, y, x]`` and ``sites`` ``(n 3)`` in Å where they rest.
    """

    vertices: Tensor
    voxels: Tensor
    cell: Tensor
    values: Tensor
    sites: Tensor

    def __init__(self, volume: Tensor, grid: Grid, mesh: TetMesh, cell: Tensor) -> None:
        super().__init__()
        self.grid = grid
        inside = (cell.flatten() >= 0).nonzero()[:, 0]
        self.register_buffer("vertices", mesh.vertices.clone(), persistent=False)
        self.register_buffer("voxels", inside)
        self.register_buffer("cell", cell.flatten()[inside])
        self.register_buffer("values", volume.flatten()[inside].clone())
        self.register_buffer("sites", grid.points()[inside], persistent=False)
        self._table = MeshTable(mesh.vertices, mesh.cells, self.sites, self.cell, grid.pixel_size)

    @property
    def table(self) -> MeshTable:
        """Which tetrahedron carries each voxel, on the device that the map was moved to."""
        if self._table.device != self.values.device:
            self._table = self._table.to(self.values.device)
        return self._table

    def points(self) -> Tensor:
        """The vertices of the mesh at rest ``(v 3)``, Å."""
        return self.vertices

    def weights(self, grid: Grid) -> Tensor:
        """The voxels as masses ``(1 n)``.

        Raises:
            ValueError: the grid is not the one that the voxels belong to.
        """
        if grid != self.grid:
            raise ValueError(f"the voxels belong to {self.grid}, not to {grid}")
        return self.values[None]

    def widths(self) -> Tensor:
        """A voxel is a point: ``(1)`` zero."""
        return torch.zeros(1, device=self.values.device)

    def rebased(self, sites: Tensor, vertices: Tensor) -> CanonicalMap:
        """The same material at rest elsewhere: voxels at ``sites`` ``(n 3)``, the mesh at ``vertices`` ``(v 3)``."""
        changed = copy.deepcopy(self)
        changed.sites, changed.vertices = sites, vertices
        return changed

    def own_volume(self) -> Tensor:
        """V ``(d d d)``, each voxel in its place on the grid whatever is at rest, zero outside the mesh."""
        return self.in_place(self.values, 0)

    def in_place(self, values: Tensor, elsewhere: int) -> Tensor:
        """One of the ``values`` ``(n)`` at each voxel of the map, and ``elsewhere`` at all others, ``(d d d)``."""
        volume = values.new_full((self.grid.box**3,), elsewhere)
        volume[self.voxels] = values
        return volume.view(self.grid.box, self.grid.box, self.grid.box)

    def volume(self, grid: Grid) -> Tensor:
        """The map at rest ``(d d d)`` on a grid of the same width, Fourier-cropped or -padded to it."""
        on_voxels = torch.equal(self.sites, self.grid.points(self.sites.device)[self.voxels])
        volume = self.own_volume() if on_voxels else spread(self.sites, self.values, self.grid)
        return fourier.resize(volume, grid.box, 3)

    def home(self) -> Tensor:
        """The voxels where they rest ``(n 3)``."""
        return self.sites

    def mass(self, mesh: TetMesh) -> Tensor:
        """How much density there is around each vertex ``(v)`` of the ``mesh`` that carries the voxels."""
        corners, shares = mesh.cells[self.cell], mesh.barycentric(self.sites, self.cell)
        mass = torch.zeros(len(mesh.vertices), device=self.values.device)
        return mass.index_add_(0, corners.flatten(), (shares * self.values.clamp(min=0.0)[:, None]).flatten())

    def landmarks(self) -> Tensor:
        """At most 2,000 of the densest voxels, evenly picked from those above a quarter of the highest, ``(n 3)``."""
        dense = (self.values > 0.25 * self.values.max()).nonzero()[:, 0]
        picked = dense[:: -(-len(dense) // _LANDMARKS)]
        return self.sites[picked]
