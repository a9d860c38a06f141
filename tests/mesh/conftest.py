"""Meshes and molecules that several test files share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from dynaflex.grid import Grid
from dynaflex.mesh.tetmesh import TetMesh, validated, without_unused_vertices
from dynaflex.shapes import Tensor


def mesh_of(vertices: Tensor, cells: Tensor, segment: Tensor | None = None) -> TetMesh:
    """A mesh with unit weights in which everything can move."""
    none = torch.zeros(len(cells), dtype=torch.int64)
    return TetMesh(
        vertices,
        cells,
        torch.ones(len(cells)),
        none if segment is None else segment,
        torch.zeros(len(vertices), dtype=torch.bool),
    )


@pytest.fixture
def irregular() -> TetMesh:
    """Cells of very different sizes, some over each other: a triangulation of clustered points, twice."""
    rng = np.random.default_rng(3)
    clouds = [
        np.concatenate([rng.normal(scale=4.0, size=(25, 3)), rng.uniform(-30.0, 30.0, size=(25, 3))]) for _ in range(2)
    ]
    shapes = [torch.from_numpy(Delaunay(cloud).simplices.astype(np.int64)) for cloud in clouds]
    shapes[1] = shapes[1][::3] + len(clouds[0])
    cells = torch.cat(shapes)
    segment = torch.arange(2).repeat_interleave(torch.tensor([len(shape) for shape in shapes]))
    vertices = torch.from_numpy(np.concatenate(clouds)).float()
    mesh = mesh_of(vertices, cells, segment)
    flat = mesh.volumes().abs() < 0.5
    return validated(without_unused_vertices(mesh_of(vertices, cells[~flat], segment[~flat])))


@pytest.fixture
def leaks() -> Callable[[TetMesh], int]:
    """How many faces that belong to one cell only have a cell on their other side all the same.

    That is what becomes of two cells that cut their common face differently, and of a vertex on the side of a cell.
    """

    def count(mesh: TetMesh) -> int:
        sides = mesh.cells[:, torch.combinations(torch.arange(4), 3)].reshape(-1, 3).sort(dim=1).values
        names, cells = torch.unique(sides, dim=0, return_counts=True)
        assert set(cells.tolist()) == {1, 2}
        corners = mesh.vertices[names[cells == 1]].double()
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        step = 1e-3 * normal / normal.norm(dim=1, keepdim=True)
        middle = corners.mean(dim=1)
        return int(((mesh.locate(middle + step) >= 0) & (mesh.locate(middle - step) >= 0)).sum())

    return count


@pytest.fixture
def grid() -> Grid:
    return Grid(48, 3.0)


@pytest.fixture
def arms(grid: Grid) -> Tensor:
    """Segments of a body (0, below z = 0) and two arms (1 and 2) that touch each other all along; -1 outside."""
    z, y, x = torch.meshgrid(*[grid.axis()] * 3, indexing="ij")
    labels = torch.full((grid.box,) * 3, -1)
    labels[(x.abs() < 40) & (y.abs() < 20) & (z > -50) & (z < 0)] = 0
    labels[(x < 0) & (x > -20) & (y.abs() < 15) & (z >= 0) & (z < 55)] = 1
    labels[(x >= 0) & (x < 20) & (y.abs() < 15) & (z >= 0) & (z < 55)] = 2
    return labels
