"""Laws of refinement: the same volume, no hanging vertex, small cells where asked for and large ones elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.mesh.build import lattice
from dynaflex.mesh.refine import refine
from dynaflex.mesh.tetmesh import TetMesh, validated
from dynaflex.mesh.voxels import cell_of_voxels, cells_touching
from dynaflex.shapes import Tensor


@pytest.fixture
def coarse(grid: Grid, arms: Tensor) -> TetMesh:
    mesh = lattice(arms >= 0, grid, 10)
    return replace(
        mesh,
        weights=torch.linspace(0.5, 1.0, len(mesh.cells)),
        segment=torch.arange(len(mesh.cells)),
        fixed=mesh.vertices[:, 2] < -40.0,
    )


@pytest.fixture
def where(arms: Tensor) -> Tensor:
    return arms == 2


@pytest.fixture
def fine(coarse: TetMesh, where: Tensor, grid: Grid) -> TetMesh:
    return refine(coarse, where, grid)


def longest(mesh: TetMesh) -> Tensor:
    corners = mesh.vertices[mesh.cells]
    return torch.cdist(corners, corners).amax(dim=(1, 2))


def test_cells_are_half_as_long_in_the_region_and_as_they_were_far_from_it(
    coarse: TetMesh, fine: TetMesh, where: Tensor, grid: Grid
) -> None:
    limit = float(longest(coarse)[cells_touching(coarse, where, grid)].max())
    assert float(longest(fine)[cells_touching(fine, where, grid)].max()) <= 0.5 * limit * 1.002
    untouched = torch.unique(fine.segment, return_counts=True)[1] == 1
    assert int(untouched.sum()) > 0.3 * len(coarse.cells)


def test_the_edge_can_be_given(coarse: TetMesh, where: Tensor, grid: Grid) -> None:
    mesh = refine(coarse, where, grid, edge=13.0)
    assert float(longest(mesh)[cells_touching(mesh, where, grid)].max()) <= 13.1
    same = refine(coarse, where, grid, edge=1000.0)
    assert torch.equal(same.cells, coarse.cells)


def test_no_vertex_lies_on_the_side_of_a_cell(fine: TetMesh, leaks: Callable[[TetMesh], int]) -> None:
    assert leaks(fine) == 0


def test_the_volume_stays_cell_by_cell(coarse: TetMesh, fine: TetMesh) -> None:
    parts = torch.zeros(len(coarse.cells), dtype=torch.float64).index_add_(0, fine.segment, fine.volumes())
    assert torch.allclose(parts, coarse.volumes(), rtol=1e-5)
    assert bool((fine.volumes() > 0).all())


def test_parts_of_a_cell_lie_in_it_and_keep_its_weight(coarse: TetMesh, fine: TetMesh) -> None:
    middles = fine.vertices[fine.cells].double().mean(dim=1)
    assert bool((coarse.barycentric(middles, fine.segment) > 0).all())
    assert torch.equal(fine.weights, coarse.weights[fine.segment])


def test_cells_keep_their_shape_however_often_they_are_cut(coarse: TetMesh, where: Tensor, grid: Grid) -> None:
    def roundness(mesh: TetMesh) -> float:
        return float((mesh.volumes() / longest(mesh).double() ** 3).min())

    mesh = coarse
    for _ in range(2):
        mesh = refine(mesh, where, grid)
        where = where & torch.roll(where, 2, dims=0) & torch.roll(where, 1, dims=2)
        assert roundness(mesh) > 0.08 * roundness(coarse)


def test_a_vertex_between_fixed_ones_is_fixed_and_no_other(coarse: TetMesh, arms: Tensor, grid: Grid) -> None:
    fine = refine(coarse, arms == 0, grid)
    corners = coarse.fixed[coarse.cells]
    free = ~corners.any(dim=1)
    held = corners.all(dim=1)
    fixed = fine.fixed[fine.cells]
    assert not bool(fixed[free[fine.segment]].any())
    assert bool(fixed[held[fine.segment]].all())
    assert int(fine.fixed.sum()) > int(coarse.fixed.sum())
    assert bool((fine.vertices[fine.fixed, 2] < -40.0).all())


def test_old_vertices_keep_their_numbers(coarse: TetMesh, fine: TetMesh) -> None:
    assert torch.equal(fine.vertices[: len(coarse.vertices)], coarse.vertices)
    validated(fine)


def test_voxels_stay_in_the_mesh(coarse: TetMesh, fine: TetMesh, grid: Grid) -> None:
    before, after = cell_of_voxels(coarse, grid), cell_of_voxels(fine, grid)
    assert torch.equal(before >= 0, after >= 0)


def test_a_region_outside_is_refused(coarse: TetMesh, grid: Grid) -> None:
    with pytest.raises(InputError) as caught:
        refine(coarse, torch.zeros((grid.box,) * 3, dtype=torch.bool), grid)
    assert caught.value.identifier == "mesh.refine-outside"
