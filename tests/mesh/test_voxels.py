"""Laws of rasterising: a voxel is where its centre is, in one cell, and a region forgets none of its cells."""

from __future__ import annotations

import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cell_of_voxels, cells_touching


@pytest.mark.parametrize("grid", [Grid(24, 2.7), Grid(25, 1.3), Grid(9, 5.0)], ids=str)
def test_a_voxel_is_in_the_cell_that_holds_its_centre(irregular: TetMesh, grid: Grid) -> None:
    found = cell_of_voxels(irregular, grid).reshape(-1)
    assert torch.equal(found, irregular.locate(grid.points(dtype=torch.float64)))
    carried = found >= 0
    weights = irregular.barycentric(grid.points(dtype=torch.float64)[carried], found[carried])
    assert bool((weights >= -1e-6).all()) and bool(carried.any())


def test_a_mesh_may_reach_out_of_the_box(irregular: TetMesh) -> None:
    inner, outer = Grid(8, 1.5), Grid(32, 1.5)
    part = cell_of_voxels(irregular, outer)[12:20, 12:20, 12:20]
    assert torch.equal(cell_of_voxels(irregular, inner), part)


def test_a_labelled_voxel_goes_only_into_its_segment(irregular: TetMesh) -> None:
    grid = Grid(24, 2.0)
    labels = torch.randint(-1, 2, (24,) * 3, generator=torch.Generator().manual_seed(0))
    found = cell_of_voxels(irregular, grid, labels)
    carried = found >= 0
    assert torch.equal(irregular.segment[found[carried]], labels[carried])
    for segment in (0, 1):
        own = irregular.segment == segment
        alone = TetMesh(
            irregular.vertices, irregular.cells[own], irregular.weights[own], irregular.segment[own], irregular.fixed
        )
        expected = cell_of_voxels(alone, grid)
        places = own.nonzero()[:, 0]
        expected = torch.where(expected >= 0, places[expected.clamp(min=0)], -1)
        assert torch.equal(found[labels == segment], expected[labels == segment])


def test_no_cell_of_a_region_is_forgotten(irregular: TetMesh) -> None:
    grid = Grid(20, 3.0)
    generator = torch.Generator().manual_seed(1)
    where = torch.rand((20,) * 3, generator=generator) < 0.01
    centres = grid.points(dtype=torch.float64)[where.reshape(-1)]
    offsets = (torch.rand(400, 1, 3, generator=generator, dtype=torch.float64) - 0.5) * grid.pixel_size
    points = (centres + offsets).reshape(-1, 3)
    G, c = irregular.shape_functions()
    reached = torch.zeros(len(irregular.cells), dtype=torch.bool)
    for part in points.split(500):
        reached |= ((torch.einsum("taj,nj->nta", G, part) + c) > 0).all(dim=2).any(dim=0)
    touched = cells_touching(irregular, where, grid)
    assert bool(touched[reached].all()) and bool(reached.any())
    assert not bool(touched.all())


def test_a_touched_cell_is_near_the_region(irregular: TetMesh) -> None:
    grid = Grid(20, 3.0)
    where = torch.zeros(20, 20, 20, dtype=torch.bool)
    where[12, 7, 9] = True
    centre = torch.tensor([-1.0, -3.0, 2.0]) * grid.pixel_size
    corners = irregular.vertices[irregular.cells]
    half = 0.5 * grid.pixel_size + 1e-3
    boxed = ((corners.amin(dim=1) <= centre + half) & (corners.amax(dim=1) >= centre - half)).all(dim=1)
    touched = cells_touching(irregular, where, grid)
    assert bool(boxed[touched].all()) and bool(touched.any())
    assert int(touched.sum()) < int(boxed.sum())


def test_nothing_touches_an_empty_region(irregular: TetMesh) -> None:
    grid = Grid(20, 3.0)
    assert not bool(cells_touching(irregular, torch.zeros(20, 20, 20, dtype=torch.bool), grid).any())
