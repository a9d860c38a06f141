"""Laws of the fields that carry voxels: both ways agree, adjoints are adjoint, and the solvent holds together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.kernels.reference import carried
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.reconstruct.field import FAR, NEAR, Field, Region
from dynaflex.reconstruct.mesh_field import MeshField, required_memory
from dynaflex.shapes import Tensor
from moved import MovedField

CPU = torch.device("cpu")
GRID = Grid(24, 4.0)
WIDE = Grid(64, 2.0)
MATRIX = torch.tensor([[0.02, -0.05, 0.01], [0.04, 0.0, 0.03], [-0.06, 0.02, 0.05]])

Draw = Callable[..., Batch]
Build = Callable[..., TetMesh]


def affine(latents: Tensor, points: Tensor) -> Tensor:
    return latents[:, :1, None] * (points @ MATRIX.T) + torch.tensor([1.0, -2.0, 3.0])


def noise(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def sphere(grid: Grid) -> Region:
    return Region.sphere(grid, CPU)


def seen_alike(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-4 * float(second.abs().max()))


def test_adjoint(swirling: Field, views: Draw) -> None:
    some = views(5)
    values = noise(len(swirling.region))
    images = noise(5 * 24 * 24).view(5, 24, 24)
    splat = torch.fft.irfft2(swirling.splat(values, some.latents, some.pose), s=(24, 24))
    # Coefficients of images as the operator sees them, with the phase origin in the centre.
    back = swirling.gather(torch.fft.rfft2(images), some.latents, some.pose)
    assert float((splat.double() * images).sum()) == pytest.approx(float((values.double() * back).sum()), rel=1e-4)


def test_to_the_images_and_back_in_one_is_one_after_the_other(swirling: Field, views: Draw) -> None:
    some = views(5)
    values, weights = noise(len(swirling.region)), some.ctf.abs().square()
    images = swirling.splat(values, some.latents, some.pose) * weights
    steps = swirling.gather(images, some.latents, some.pose)
    assert seen_alike(swirling.splat_and_gather(values, weights, some.latents, some.pose), steps)


def test_both_fields_have_the_same_voxels(swirling: Field) -> None:
    assert torch.equal(swirling.region.voxels, Region.sphere(GRID, CPU).voxels)


@pytest.mark.parametrize("given", ["no latents", "motion of zero"])
def test_a_mesh_that_does_not_move_is_the_rigid_control(given: str, views: Draw, ball_mesh: Build) -> None:
    some = views(4)
    mesh = ball_mesh(GRID, 12, 20.0)
    field = MeshField(sphere(GRID), mesh, lambda latents: torch.zeros(len(latents), len(mesh.vertices), 3))
    values = noise(len(field.region))
    rigid = MovedField(GRID).splat(values, None, some.pose)
    assert seen_alike(field.splat(values, None if given == "no latents" else some.latents, some.pose), rigid)


def test_latents_left_out_stop_every_motion(swirling: Field, views: Draw) -> None:
    some = views(4)
    values = noise(len(swirling.region))
    still = swirling.splat(values, None, some.pose)
    assert seen_alike(still, MovedField(GRID).splat(values, None, some.pose))
    assert not torch.allclose(still, swirling.splat(values, some.latents, some.pose), rtol=0.1, atol=1.0)


@pytest.mark.parametrize("radius", [20.0, 200.0])
def test_inside_its_mesh_an_affine_motion_is_exact(radius: float, views: Draw, ball_mesh: Build) -> None:
    some = views(4)
    mesh = ball_mesh(GRID, 8, radius)
    field = MeshField(sphere(GRID), mesh, lambda latents: affine(latents, mesh.vertices))
    inside = mesh.locate(field.region.points) >= 0
    assert bool(inside.all()) == (radius == 200.0)
    values = noise(len(field.region)) * inside
    truth = MovedField(GRID, affine).splat(values, some.latents, some.pose)
    assert seen_alike(field.splat(values, some.latents, some.pose), truth)


def displaced(field: Field, some: Batch) -> Tensor:
    """How far the voxels of a mesh move in the images, ``(b 2 n)`` in Å."""
    assert field.table is not None
    positions = [field.image_points(latents, some.pose).transpose(1, 2) for latents in (some.latents, None)]
    moved, rest = (carried(where.double(), field.table) for where in positions)
    return moved - rest


def test_the_motion_fades_away_from_the_mesh_and_nothing_is_torn(views: Draw, ball_mesh: Build) -> None:
    some = views(3)
    mesh = ball_mesh(WIDE, 16, 8.0, (-35.0, 0.0, 0.0))
    shift = torch.tensor([6.0, -5.0, 7.0])
    field = MeshField(sphere(WIDE), mesh, lambda latents: shift.expand(len(latents), len(mesh.vertices), 3))
    moved = displaced(field, some)
    full = (some.pose.rotation @ shift)[:, :2, None].double()
    inside = mesh.locate(field.region.points) >= 0
    assert torch.allclose(moved[:, :, inside], full.expand_as(moved)[:, :, inside], atol=1e-3)

    amount = ((moved * full).sum(dim=(0, 1)) / full.square().sum()).float()
    distance = torch.cdist(field.region.points, field.region.points[inside]).amin(dim=1)
    cell = 2.0**0.5 * WIDE.width / 13
    assert amount.min() > -1e-3 and amount.max() < 1.0 + 1e-3
    assert amount[distance > FAR + cell].abs().max() < 1e-3
    halfway = (distance - 0.5 * (NEAR + FAR)).abs() < 1.0
    assert float(amount[halfway].mean()) == pytest.approx(0.5, abs=0.1)
    amounts, known = (field.region.to_volume(values) for values in (amount, torch.ones_like(amount)))
    for axis in range(3):
        both = known.narrow(axis, 1, 63) * known.narrow(axis, 0, 63)
        jump = (amounts.narrow(axis, 1, 63) - amounts.narrow(axis, 0, 63)) * both
        # The cosine falls by at most pi / 30 per Å; a voxel left behind would differ by 1.
        assert jump.abs().max() < 0.12 * WIDE.pixel_size


def test_voxels_are_carried_by_cells_of_their_own_segment(views: Draw, ball_mesh: Build) -> None:
    some = views(3)
    one = ball_mesh(GRID, 12, 20.0)
    twice = TetMesh(
        torch.cat([one.vertices, one.vertices]),
        torch.cat([one.cells, one.cells + len(one.vertices)]),
        one.weights.repeat(2),
        torch.arange(2).repeat_interleave(len(one.cells)),
        one.fixed.repeat(2),
    )
    moves = torch.zeros(len(twice.vertices), 3)
    moves[len(one.vertices) :] = torch.tensor([5.0, 4.0, -3.0])
    labels = (GRID.points()[:, 0] > 0).long().view(24, 24, 24)
    field = MeshField(sphere(GRID), twice, lambda latents: moves.expand(len(latents), -1, 3), labels)
    moved = displaced(field, some).abs().amax(dim=(0, 1))
    carried_by_mesh, right = one.locate(field.region.points) >= 0, field.region.points[:, 0] > 0
    assert moved[carried_by_mesh & ~right].max() < 1e-3
    assert moved[carried_by_mesh & right].min() > 1.0


MEASURE = """
import sys, torch
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose
from dynaflex.mesh.build import lattice
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.iterative import solve
from dynaflex.reconstruct.mesh_field import MeshField
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.rigid import RigidProblem
from dynaflex.spent import forget_memory, memory_mb

box, batch = 80, 8
grid = Grid(box, 3.0)
mesh = lattice((grid.radius_of_points() < 50.0).view(box, box, box), grid, 16)
region = Region.sphere(grid, torch.device("cpu"))
images = torch.fft.rfft2(torch.randn(batch, box, box))
pose = Pose(torch.eye(3).repeat(batch, 1, 1), torch.zeros(batch, 2))
index, ones = torch.arange(batch), torch.ones(batch, box, box // 2 + 1)
views = Batch(index, pose, ones, lambda: images, latents=torch.zeros(batch, 1))
forget_memory()
before = memory_mb()
operator = Operator(MeshField(region, mesh, lambda z: torch.zeros(len(z), len(mesh.vertices), 3)))
problem = RigidProblem(grid, operator.noise_power)
halves = operator.back_in_two(problem.added([views]))
still = problem.equations()
solve(still, 2)
solve(operator.equations_of(halves, lambda: [views], still.ramp), 2)
print(round(1e6 * (memory_mb() - before)))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be read and reset on Linux only")
def test_the_memory_stated_beforehand_is_enough_and_not_wildly_too_much() -> None:
    answer = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    stated = required_memory(Grid(80, 3.0), 8)
    assert 0.3 * stated < int(answer.stdout) < stated


def test_maps_come_out_unmasked(swirling: Field) -> None:
    volume = swirling.region.to_volume(torch.ones(len(swirling.region)))
    assert torch.equal(volume > 0, GRID.radius_of_points().view(24, 24, 24) < 40.0)
    assert fourier.transform(volume, 3).isfinite().all()
