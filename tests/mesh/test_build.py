"""Laws of the regular mesh: it conforms, fills what it covers once, and is as stiff as the density is dense."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.mesh.build import build_mesh, cell_edge, density_weights, hold, lattice, stiff_segments
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cell_of_voxels, cells_touching
from dynaflex.shapes import Tensor


def ball(grid: Grid, radius: float, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    points = grid.points() - torch.tensor(center)
    return (points.norm(dim=1) < radius).reshape((grid.box,) * 3)


def faces(mesh: TetMesh) -> tuple[Tensor, Tensor]:
    """Every face as sorted vertices ``(f 3)``, and the cell it belongs to."""
    sides = mesh.cells[:, torch.combinations(torch.arange(4), 3)].reshape(-1, 3).sort(dim=1).values
    return sides, torch.arange(len(mesh.cells)).repeat_interleave(4)


@pytest.fixture
def mesh(grid: Grid) -> TetMesh:
    return lattice(ball(grid, 40.0), grid, 9)


def test_neighbours_cut_their_common_face_alike(mesh: TetMesh, leaks: Callable[[TetMesh], int]) -> None:
    assert leaks(mesh) == 0


def test_a_face_belongs_to_at_most_two_cells_on_either_side_of_it(mesh: TetMesh) -> None:
    sides, owner = faces(mesh)
    names, face, count = torch.unique(sides, dim=0, return_inverse=True, return_counts=True)
    assert set(count.tolist()) == {1, 2}
    order = face.argsort(stable=True)
    inner = order[count[face[order]] == 2].reshape(-1, 2)
    corners = mesh.vertices[names[face[inner[:, 0]]]].double()
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middles = mesh.vertices[mesh.cells[owner[inner]]].double().mean(dim=2)
    heights = ((middles - corners[:, :1]) * normal[:, None]).sum(dim=2)
    assert bool((heights[:, 0] * heights[:, 1] < 0).all())


@pytest.mark.parametrize(("box", "cells"), [(12, 4), (12, 5), (13, 4)])
def test_a_full_box_is_filled_exactly(box: int, cells: int) -> None:
    grid = Grid(box, 2.5)
    mesh = lattice(torch.ones(box, box, box, dtype=torch.bool), grid, cells)
    assert len(mesh.cells) == 5 * cells**3
    assert len(mesh.vertices) == (cells + 1) ** 3
    assert float(mesh.volumes().sum()) == pytest.approx(grid.width**3, rel=1e-6)
    assert bool((cell_of_voxels(mesh, grid) >= 0).all())
    assert float(mesh.vertices.amax()) == pytest.approx(0.5 * grid.width)
    assert float(mesh.vertices.amin()) == pytest.approx(-0.5 * grid.width)


def test_cells_are_a_third_and_a_sixth_of_a_cube(mesh: TetMesh, grid: Grid) -> None:
    shares = mesh.volumes() / (grid.width / 9) ** 3
    centre = (shares - 1 / 3).abs() < 1e-5
    assert bool((centre | ((shares - 1 / 6).abs() < 1e-5)).all())
    edge = grid.width / 9
    ends = mesh.vertices[mesh.edges()]
    lengths = (ends[:, 0] - ends[:, 1]).norm(dim=1) / edge
    assert bool((((lengths - 1).abs() < 1e-4) | ((lengths - 2**0.5).abs() < 1e-4)).all())


def test_the_cells_are_those_that_touch_the_mask(mesh: TetMesh, grid: Grid) -> None:
    inside = ball(grid, 40.0)
    assert bool(cells_touching(mesh, inside, grid).all())
    assert bool((cell_of_voxels(mesh, grid)[inside] >= 0).all())
    whole = lattice(torch.ones_like(inside), grid, 9)
    assert len(mesh.cells) == int(cells_touching(whole, inside, grid).sum())


def test_the_mask_is_also_covered_at_a_finer_sampling(mesh: TetMesh, grid: Grid) -> None:
    finer = Grid(4 * grid.box, grid.pixel_size / 4)
    axis = (
        (finer.axis(dtype=torch.float64) / grid.pixel_size + grid.center + 0.5).floor().long().clamp(max=grid.box - 1)
    )
    inside = ball(grid, 40.0)[axis[:, None, None], axis[None, :, None], axis[None, None, :]]
    assert bool((cell_of_voxels(mesh, finer)[inside] >= 0).all())


def test_weights_rise_with_the_density_from_the_minimum_to_one(grid: Grid) -> None:
    mask = ball(grid, 45.0)
    density = torch.where(ball(grid, 30.0), torch.exp(-grid.radius_of_points().reshape(mask.shape) / 15.0), 0.0)
    mesh = build_mesh(mask.float(), grid, density, 9, minimum_weight=0.4)
    assert float(mesh.weights.max()) == 1.0
    middles = mesh.vertices[mesh.cells].mean(dim=1)
    assert bool((mesh.weights[middles.norm(dim=1) > 50.0] == mesh.weights.min()).all())
    assert float(mesh.weights.min()) == pytest.approx(0.4)
    centre = mesh.volumes() > 1.5 * mesh.volumes().min()
    near = mesh.weights[centre & (middles.norm(dim=1) < 15.0)]
    far = mesh.weights[centre & (middles.norm(dim=1) > 25.0)]
    assert float(near.min()) > float(far.mean())
    louder = build_mesh(mask.float(), grid, 7.0 * density - 0.0, 9, minimum_weight=0.4)
    assert torch.allclose(louder.weights, mesh.weights)


def test_the_same_molecule_has_the_same_mesh_in_any_box(grid: Grid) -> None:
    density = (-grid.radius_of_points() / 20.0).exp().reshape((grid.box,) * 3)
    wide = Grid(grid.box + 34, grid.pixel_size)
    meshes = []
    for around, padding in ((grid, 0), (wide, 17)):
        there = torch.nn.functional.pad(density, (padding,) * 6)
        meshes.append(build_mesh(ball(around, 38.0).float(), around, there))
    assert len(meshes[0].cells) > 100
    for name in ("vertices", "cells", "weights"):
        assert torch.allclose(getattr(meshes[0], name), getattr(meshes[1], name), atol=1e-4), name


@pytest.mark.parametrize(("pixel_size", "edge"), [(1.0, 10.0), (3.0, 10.0), (6.0, 12.0)])
def test_cubes_are_as_wide_as_a_helix_or_as_what_images_show(pixel_size: float, edge: float) -> None:
    grid = Grid(48, 2.0)
    mesh = build_mesh(ball(grid, 30.0).float(), grid, None, edge=cell_edge(pixel_size))
    assert float(mesh.volumes().min()) == pytest.approx(edge**3 / 6)


def test_the_stiffness_of_a_cell_is_that_of_its_mean_density() -> None:
    carrier = torch.tensor([0, 0, 1, 2, -1, 3]).reshape(1, 1, 6)
    density = torch.tensor([1.0, 1.0, 2.0, -5.0, 9.0, 1.0]).reshape(1, 1, 6)
    weights = density_weights(carrier, density, torch.tensor([2.0, 2.0, 1.0, 1.0, 1.0]))
    assert torch.allclose(weights, torch.tensor([1.0, 1.0, 0.5, 1.0, 0.5]), atol=0.02)


def test_without_density_all_cells_weigh_one(grid: Grid) -> None:
    assert build_mesh(ball(grid, 30.0).float(), grid, None, 9).weights.unique().tolist() == [1.0]


def test_a_map_without_density_gives_the_minimum(grid: Grid) -> None:
    mesh = build_mesh(ball(grid, 30.0).float(), grid, -torch.ones((grid.box,) * 3), 9)
    assert mesh.weights.unique().tolist() == [0.5]


def test_density_outside_the_mask_makes_nothing_stiff(grid: Grid) -> None:
    mask = ball(grid, 30.0)
    density = torch.where(mask, 1.0, 0.0)
    loud = torch.where(mask, 1.0, 100.0)
    assert torch.equal(
        build_mesh(mask.float(), grid, density, 9).weights, build_mesh(mask.float(), grid, loud, 9).weights
    )


def test_stiffening_takes_hold_of_the_weak_but_not_of_the_empty() -> None:
    carrier = torch.arange(7).reshape(1, 1, 7)
    density = torch.tensor([10.0, 9.0, 8.0, 8.0, 1.0, 0.1, 0.0]).reshape(1, 1, 7)
    plain = density_weights(carrier, density, torch.ones(7))
    stiff = density_weights(carrier, density, torch.ones(7), stiffen=True)
    assert stiff[4] == 3.0
    kept = [0, 1, 2, 3, 5, 6]
    assert torch.equal(stiff[kept], plain[kept])


def test_only_vertices_of_cells_at_the_stationary_mask_are_fixed(grid: Grid) -> None:
    still = ball(grid, 12.0, (0.0, 0.0, 36.0))
    mesh = build_mesh(ball(grid, 40.0).float(), grid, None, 9, stationary=still.float())
    touching = cells_touching(mesh, still, grid)
    assert torch.equal(mesh.fixed.nonzero()[:, 0], torch.unique(mesh.cells[touching]))
    assert 0 < int(mesh.fixed.sum()) < len(mesh.vertices)
    carrier = cell_of_voxels(mesh, grid)[still]
    assert bool(mesh.fixed[mesh.cells[carrier[carrier >= 0]]].all())


@pytest.mark.parametrize(
    ("identifier", "stationary"), [("mesh.all-stationary", 60.0), ("mesh.stationary-outside", 0.0)]
)
def test_a_stationary_mask_must_leave_something_to_move_and_hold_something(
    grid: Grid, mesh: TetMesh, identifier: str, stationary: float
) -> None:
    with pytest.raises(InputError) as caught:
        hold(mesh, ball(grid, stationary).float(), grid)
    assert caught.value.identifier == identifier


def test_rigid_segments_weigh_twenty(mesh: TetMesh) -> None:
    assert stiff_segments(mesh, [0]).weights.unique().tolist() == [20.0]
    assert torch.equal(stiff_segments(mesh, []).weights, mesh.weights)
    with pytest.raises(InputError, match="segment 3 cannot be rigid") as caught:
        stiff_segments(mesh, [3])
    assert caught.value.identifier == "mesh.no-such-segment"


def test_an_empty_mask_is_refused(grid: Grid) -> None:
    with pytest.raises(InputError) as caught:
        build_mesh(torch.full((grid.box,) * 3, 0.5), grid, None)
    assert caught.value.identifier == "mesh.empty-mask"


@pytest.mark.parametrize("cells", [0, 49])
def test_a_mesh_coarser_than_the_box_or_finer_than_the_voxels_is_refused(grid: Grid, cells: int) -> None:
    with pytest.raises(UsageError) as caught:
        build_mesh(ball(grid, 30.0).float(), grid, None, cells)
    assert caught.value.identifier == "mesh.cells"
