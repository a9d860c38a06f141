"""Laws of the lattice that carries voxels by a motion: affine is exact, all else as fine as it has to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.kernels.reference import carried
from dynaflex.reconstruct.field import FAR, Region
from dynaflex.reconstruct.mesh_field import MeshField
from dynaflex.reconstruct.motion_field import COARSEST, astray, motion_field, suitable_lattice, tolerated
from dynaflex.shapes import Tensor
from moved import Displacement, MovedField

CPU = torch.device("cpu")
GRID = Grid(48, 2.0)
MATRIX = torch.tensor([[0.02, -0.05, 0.01], [0.04, 0.0, 0.03], [-0.06, 0.02, 0.05]])
BALL = 4.0 * torch.cartesian_prod(*[torch.arange(-4.0, 5.0)] * 3)


def field_of(displacement: Displacement, latents: Tensor, anchors: Tensor = BALL) -> MeshField:
    sphere = Region.sphere(GRID, CPU)
    return motion_field(sphere, lambda points: lambda z: displacement(z, points), latents, anchors)


def near(field: MeshField) -> Tensor:
    """The voxels in cells of which no vertex is far from the anchors, ``(n)`` bool."""
    return field.region.points.abs().amax(dim=1) < 16.0


def affine(latents: Tensor, points: Tensor) -> Tensor:
    return latents[:, :1, None] * (points @ MATRIX.T) + torch.tensor([1.0, -2.0, 3.0])


def waves(length: float) -> Displacement:
    """A motion of 2 Å with a wavelength in Å."""
    return lambda latents, points: 2.0 * latents[:, :1, None] * torch.sin(2.0 * torch.pi / length * points.roll(1, 1))


def seen_at(field: MovedField | MeshField, some: Batch) -> Tensor:
    """Where all voxels are seen, ``(b 2 n)``."""
    points = field.image_points(some.latents, some.pose).transpose(1, 2)
    return points if field.table is None else carried(points.double(), field.table).float()


def edge(displacement: Displacement, latents: Tensor) -> float:
    """The width of the lattice's cubes in Å."""
    sphere = Region.sphere(GRID, CPU)
    mesh = suitable_lattice(sphere, lambda points: lambda z: displacement(z, points), latents, BALL)
    return float(mesh.vertices[:, 0].unique().diff().min())


def test_an_affine_motion_is_exact_on_the_coarsest_lattice(views: Callable[..., Batch]) -> None:
    some = views(4, GRID)
    field = field_of(affine, some.latents)
    there = seen_at(field, some) - seen_at(MovedField(GRID, affine), some)
    assert there[:, :, near(field)].abs().max() < 1e-3
    assert edge(affine, some.latents) == pytest.approx(COARSEST)


def test_the_shorter_its_waves_the_finer_the_lattice_and_voxels_go_where_they_are_sent(
    views: Callable[..., Batch],
) -> None:
    some = views(6, GRID)
    edges = []
    for length in (600.0, 100.0, 50.0):
        field = field_of(waves(length), some.latents)
        differences = seen_at(field, some) - seen_at(MovedField(GRID, waves(length)), some)
        assert astray(differences[:, :, near(field)].transpose(1, 2)) < 1.2 * tolerated(GRID)
        edges.append(edge(waves(length), some.latents))
    assert edges[0] > edges[1] > edges[2] >= 2.0 * GRID.pixel_size


def test_voxels_as_far_astray_as_is_tolerated_lose_a_hundredth_at_nyquist() -> None:
    shifts = tolerated(GRID) * torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    left = torch.cos(2.0 * torch.pi * GRID.nyquist * shifts).mean()
    assert float(1.0 - left) == pytest.approx(0.01, rel=0.05)


def test_a_motion_ends_where_nothing_was_learned_of_it(views: Callable[..., Batch]) -> None:
    some = views(3, GRID)
    anchors = torch.tensor([[-30.0, 0.0, 0.0]])

    def shift(latents: Tensor, points: Tensor) -> Tensor:
        return torch.tensor([6.0, -5.0, 7.0]).expand(len(latents), len(points), 3)

    field = field_of(shift, some.latents, anchors)
    moved = seen_at(field, some) - seen_at(MovedField(GRID), some)
    whole = (some.pose.rotation @ torch.tensor([6.0, -5.0, 7.0]))[:, :2, None]
    amount = (moved * whole).sum(dim=(0, 1)) / whole.square().sum()
    distance = (field.region.points - anchors).norm(dim=1)
    assert amount.min() > -1e-3 and amount.max() < 1.0 + 1e-3
    assert amount[distance < 3.0].min() > 0.9
    assert amount[distance > FAR + 2.0**0.5 * COARSEST].abs().max() < 1e-3
