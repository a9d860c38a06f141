"""A mesh of tetrahedra: what carries the density, and what a motion of its vertices does inside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from dynaflex.errors import InputError
from dynaflex.mesh.search import find_cells
from dynaflex.shapes import Tensor

# Of the cube of a cell's longest edge; a regular tetrahedron fills 0.118 of it.
_FLATTEST = 1e-6


@dataclass(frozen=True)
class TetMesh:
    """Tetrahedra at rest in the consensus frame.

    ``vertices`` ``(v 3)`` float32 (x, y, z) in Å, origin at the box centre; ``cells`` ``(t 4)`` int64, the vertices of
    each cell, positively oriented; ``weights`` ``(t)`` float32, how strongly each cell resists to being deformed;
    ``segment`` ``(t)`` int64, the part of the molecule a cell belongs to (all 0 in a regular mesh); ``fixed`` ``(v)``
    bool, the vertices that never move.

    Cells of different segments may lie over each other: neighbours move together only where they share vertices.
    """

    vertices: Tensor
    cells: Tensor
    weights: Tensor
    segment: Tensor
    fixed: Tensor

    def shape_gradients(self) -> Tensor:
        """Gradients of the four barycentric coordinates of every cell, ``(t 4 3)``, in 1/Å."""
        gradients, _ = self.shape_functions()
        return gradients.to(self.vertices.dtype)

    def shape_functions(self) -> tuple[Tensor, Tensor]:
        """Gradients G ``(t 4 3)`` and offsets c ``(t 4)``, float64: barycentric coordinates are ``G x + c``."""
        corners = self.vertices.double()[self.cells]
        rows = torch.linalg.inv(corners[:, 1:] - corners[:, :1]).transpose(1, 2)
        gradients = torch.cat([-rows.sum(dim=1, keepdim=True), rows], dim=1)
        return gradients, 0.25 - (gradients * corners.mean(dim=1, keepdim=True)).sum(dim=2)

    def affine(self, destinations: Tensor) -> tuple[Tensor, Tensor]:
        """The map ``x -> A x + b`` of every cell, given where its vertices go. Implements [3DF 5].

        ``destinations`` ``(b v 3)`` are positions in Å, not displacements. Returns A ``(b t 3 3)`` and b ``(b t 3)``.
        """
        corners = destinations[:, self.cells]
        A = torch.einsum("btai,taj->btij", corners, self.shape_gradients().to(destinations.dtype))
        centre = self.vertices[self.cells].mean(dim=1).to(destinations.dtype)
        return A, corners.mean(dim=2) - torch.einsum("btij,tj->bti", A, centre)

    def moved(self, vertices: Tensor) -> TetMesh:
        """The same cells at rest in other positions ``(v 3)``."""
        return replace(self, vertices=vertices)

    def locate(self, points: Tensor) -> Tensor:
        """The cell that holds each point ``(n 3)``, ``(n)`` int64, or -1; on a face or in an overlap, the first."""
        gradients, offsets = self.shape_functions()
        return find_cells(self.vertices.double()[self.cells], gradients, offsets, points.double())

    def barycentric(self, points: Tensor, cell: Tensor) -> Tensor:
        """Weights ``(n 4)`` of the four vertices of ``cell`` ``(n)`` at points ``(n 3)``; they sum to one.

        Inside the cell none is negative; outside they extrapolate. ``cell`` holds no -1.
        """
        gradients, offsets = self.shape_functions()
        values = (gradients[cell] * points.double()[:, None, :]).sum(dim=2) + offsets[cell]
        return values.to(points.dtype)

    def volumes(self) -> Tensor:
        """Signed volumes of the cells in Å³, ``(t)`` float64; negative where a cell is turned inside out."""
        corners = self.vertices.double()[self.cells]
        return torch.linalg.det(corners[:, 1:] - corners[:, :1]) / 6.0

    def edges(self) -> Tensor:
        """The pairs of vertices that some cell joins, each once and in ascending order, ``(e 2)``."""
        pairs = self.cells[:, torch.combinations(torch.arange(4))].reshape(-1, 2)
        return torch.unique(pairs.sort(dim=1).values, dim=0)

    def edge_length(self) -> float:
        """The mean length of an edge in Å."""
        edges = self.edges()
        return float((self.vertices[edges[:, 0]] - self.vertices[edges[:, 1]]).norm(dim=1).mean())

    def parts(self) -> Tensor:
        """Which connected part each vertex belongs to, ``(v)`` int64 from 0: cells connect the vertices they share."""
        label = torch.arange(len(self.vertices), device=self.vertices.device)
        while True:
            lowest = label[self.cells].amin(dim=1, keepdim=True).expand(-1, 4)
            joined = label.scatter_reduce(0, self.cells.reshape(-1), lowest.reshape(-1), "amin")
            joined = joined[joined]
            if torch.equal(joined, label):
                return torch.unique(label, return_inverse=True)[1]
            label = joined

    def to(self, device: torch.device) -> TetMesh:
        """The same mesh on a device."""
        return TetMesh(
            self.vertices.to(device),
            self.cells.to(device),
            self.weights.to(device),
            self.segment.to(device),
            self.fixed.to(device),
        )


def validated(mesh: TetMesh) -> TetMesh:
    """The mesh with every cell turned to positive orientation.

    Raises:
        InputError: no cells, numbers that are not finite or not positive, a cell that names a missing vertex or has
            no volume, or a vertex that no cell uses.
    """
    if len(mesh.cells) == 0:
        raise InputError(
            "mesh.empty",
            "this mesh has no cells",
            field="cells",
            expected="at least one",
            fix="build it again with dynaflex mesh",
        )
    _require(mesh.vertices.isfinite().all(dim=1), "mesh.not-finite", "vertices", "finite positions in Å")
    _require(mesh.weights.isfinite() & (mesh.weights >= 0), "mesh.weight", "weights", "finite weights, none negative")
    known = ((mesh.cells >= 0) & (mesh.cells < len(mesh.vertices))).all(dim=1)
    _require(known, "mesh.no-such-vertex", "cells", f"vertices 0 to {len(mesh.vertices) - 1}")
    volumes = mesh.volumes()
    corners = mesh.vertices.double()[mesh.cells]
    longest = torch.cdist(corners, corners).amax(dim=(1, 2))
    _require(volumes.abs() > _FLATTEST * longest**3, "mesh.flat-cell", "cells", "tetrahedra that have a volume")
    used = torch.zeros(len(mesh.vertices), dtype=torch.bool, device=mesh.cells.device)
    used[mesh.cells.reshape(-1)] = True
    _require(used, "mesh.unused-vertex", "vertices", "vertices that belong to a cell")
    turned = mesh.cells[:, [0, 1, 3, 2]]
    return replace(mesh, cells=torch.where((volumes < 0)[:, None], turned, mesh.cells))


def without_unused_vertices(mesh: TetMesh) -> TetMesh:
    """The mesh with only the vertices that a cell uses, in their old order."""
    used, cells = torch.unique(mesh.cells, return_inverse=True)
    return replace(mesh, vertices=mesh.vertices[used], cells=cells, fixed=mesh.fixed[used])


def _require(good: Tensor, identifier: str, field: str, expected: str) -> None:
    bad = (~good).nonzero()[:, 0]
    if len(bad) > 0:
        raise InputError(
            identifier,
            f"{len(bad)} of the {len(good)} {field} of this mesh cannot be used",
            field=field,
            row=int(bad[0]),
            expected=expected,
            fix="build it again with dynaflex mesh",
        )
