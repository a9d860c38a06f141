"""Laws of the picture of a mesh: sections are those of the cells, and equal meshes give equal pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.mesh.build import lattice
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.report.drawing.mesh_picture import draw_mesh, plane_section

GRID = Grid(16, 4.0)


@pytest.fixture
def labelled() -> LabelledMesh:
    inside = (GRID.radius_of_points() < 22.0).reshape((GRID.box,) * 3)
    mesh = lattice(inside, GRID, 5)
    segment = (mesh.vertices[mesh.cells].mean(dim=1)[:, 0] > 0).long()
    return LabelledMesh(replace(mesh, segment=segment, fixed=mesh.vertices[:, 2] < -10.0))


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


@pytest.mark.parametrize("plane", [(0, 1, 2), (0, 2, 1), (1, 2, 0)])
def test_sections_of_a_full_box_tile_it(plane: tuple[int, int, int]) -> None:
    mesh = lattice(torch.ones((GRID.box,) * 3, dtype=torch.bool), GRID, 4)
    corners = mesh.vertices.double().numpy()[mesh.cells.numpy()]
    for level in (0.0, 3.3, -20.0):
        cell, polygons = plane_section(corners, plane, level)
        assert sum(map(area, polygons)) == pytest.approx(GRID.width**2, rel=1e-6)
        for index, polygon in zip(cell, polygons, strict=True):
            middle = np.empty(3)
            middle[[*plane]] = (*polygon.mean(axis=0), level)
            weights = mesh.barycentric(torch.from_numpy(middle)[None], torch.tensor([index]))
            assert float(weights.min()) > -1e-2


def test_equal_meshes_give_equal_pictures_and_others_do_not(labelled: LabelledMesh) -> None:
    density = torch.exp(-GRID.radius_of_points() / 20.0).reshape((GRID.box,) * 3)
    first = draw_mesh(labelled, GRID, density).svg()
    assert first.startswith(b"<?xml")
    assert draw_mesh(labelled, GRID, density).svg() == first
    other = replace(labelled, mesh=replace(labelled.mesh, segment=1 - labelled.mesh.segment))
    assert draw_mesh(other, GRID, density).svg() != first


def test_segments_and_what_is_stationary_are_named(labelled: LabelledMesh) -> None:
    picture = draw_mesh(labelled, GRID, torch.zeros((GRID.box,) * 3)).svg().decode()
    mesh = labelled.mesh
    for segment in (0, 1):
        assert f"segment {segment}: {int((mesh.segment == segment).sum())} cells" in picture
    assert f"stationary: {int(mesh.fixed[mesh.cells].all(dim=1).sum())} cells" in picture
    plain = replace(mesh, segment=torch.zeros_like(mesh.segment), fixed=torch.zeros_like(mesh.fixed))
    assert "segment 0" not in draw_mesh(LabelledMesh(plain), GRID, torch.zeros((GRID.box,) * 3)).svg().decode()
