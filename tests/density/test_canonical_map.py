"""Laws of the canonical map: density is conserved, and a rigid flow is a rotation of the map."""

from __future__ import annotations

import pytest
import torch

from dynaflex import fourier
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.render import render
from dynaflex.mesh.build import lattice
from dynaflex.mesh.voxels import cell_of_voxels
from dynaflex.rotations import euler_to_matrix
from dynaflex.shapes import Tensor

GRID = Grid(32, 4.0)


@pytest.fixture(scope="module")
def density() -> CanonicalMap:
    generator = torch.Generator().manual_seed(0)
    radius = GRID.radius_of_points().view(32, 32, 32)
    noise = torch.rand(32, 32, 32, generator=generator) * torch.exp(-((radius / 18.0) ** 2))
    volume = fourier.low_pass(noise, GRID, 16.0)
    mesh = lattice(radius < 40.0, GRID, 8)
    return CanonicalMap(volume, GRID, mesh, cell_of_voxels(mesh, GRID))


def images(density: CanonicalMap, vertices: Tensor, pose: Pose) -> Tensor:
    return render(vertices, density.weights(GRID), density.widths(), pose, None, GRID, density.table)


def one_pose(angles: list[float]) -> Pose:
    return Pose(euler_to_matrix(torch.tensor([angles])), torch.zeros(1, 2))


def test_density_is_conserved_under_any_flow(density: CanonicalMap) -> None:
    moved = density.points() + 6.0 * torch.randn(density.points().shape, generator=torch.Generator().manual_seed(1))
    mass = images(density, moved[None], one_pose([0.3, 0.8, -0.2]))[0, 0, 0].real
    torch.testing.assert_close(mass, density.values.sum(), rtol=1e-4, atol=0.0)


def test_turning_the_mesh_is_turning_the_particle(density: CanonicalMap) -> None:
    pose, turn = one_pose([0.3, 0.8, -0.2]), euler_to_matrix(torch.tensor([[0.5, -0.4, 1.1]]))
    carried = images(density, (density.points() @ turn[0].T)[None], pose)
    posed = images(density, density.points(), Pose(pose.rotation @ turn, pose.shift))
    assert float((carried - posed).abs().max() / posed.abs().max()) < 1e-5


def test_at_rest_along_z_the_image_is_the_sum_of_the_voxels(density: CanonicalMap) -> None:
    upright = images(density, density.points(), Pose(torch.eye(3)[None], torch.zeros(1, 2)))[0]
    expected = fourier.transform(density.own_volume().sum(dim=0), 2)
    band = GRID.radius(2) < 6
    assert float((upright - expected)[band].abs().max() / expected.abs().max()) < 1e-3


def test_voxels_outside_the_mesh_are_left_out(density: CanonicalMap) -> None:
    volume = density.own_volume()
    assert float(volume[0].abs().max()) == 0.0
    assert int((volume != 0).sum()) <= len(density.values)


def test_weights_belong_to_one_grid_only(density: CanonicalMap) -> None:
    with pytest.raises(ValueError, match="belong to"):
        density.weights(GRID.cropped(24))


def test_landmarks_are_dense_voxels(density: CanonicalMap) -> None:
    where = density.landmarks()
    assert 0 < len(where) <= 2000
    index = (where / GRID.pixel_size).round().long() + GRID.center
    found = density.own_volume()[index[:, 2], index[:, 1], index[:, 0]]
    assert float(found.min()) > 0.25 * float(density.values.max())


def test_its_table_follows_it_to_another_device() -> None:
    mesh = lattice(GRID.radius_of_points().view(32, 32, 32) < 40.0, GRID, 8)
    elsewhere = CanonicalMap(torch.ones(32, 32, 32), GRID, mesh, cell_of_voxels(mesh, GRID)).to("meta")
    assert elsewhere.table.device == elsewhere.values.device == torch.device("meta")
    assert elsewhere.table is elsewhere.table
