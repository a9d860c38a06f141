"""Laws of telling bodies apart: images say which of two bodies a voxel goes with, whatever was thought before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dynaflex import rotations
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose
from dynaflex.mesh.build import lattice
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.methods.flex.whose import RigidBodies, told_apart
from dynaflex.shapes import Tensor

GRID = Grid(24, 5.0)
PARTICLES = 120


@pytest.fixture
def density() -> CanonicalMap:
    """A block of uneven density."""
    x, y, z = GRID.points().abs().view(*(GRID.box,) * 3, 3).unbind(dim=3)
    inside = (x <= 30.0) & (y <= 30.0) & (z <= 15.0)
    uneven = torch.rand(inside.shape, generator=torch.Generator().manual_seed(0)) + 0.5
    mesh = lattice(inside, GRID, 12)
    return CanonicalMap(uneven * inside, GRID, mesh, torch.where(inside, LabelledMesh(mesh).carrier(GRID), -1))


def moved(sites: Tensor, latents: Tensor, right: Tensor) -> Tensor:
    """Where ``sites`` ``(n 3)`` are ``(b n 3)``: those on the ``right`` slide by the latents ``(b 1)`` in Å along the
    face, and those on the left against them."""
    along = torch.tensor([0.0, 1.0, 0.0])
    return sites + latents[:, :, None] * torch.where(right[:, None], along, -along)


def seen(density: CanonicalMap, right: Tensor, noise: float) -> Batch:
    """Images of particles of which what is on the ``right`` slid."""
    random = torch.Generator().manual_seed(1)
    pose = Pose(rotations.random_rotations(PARTICLES, random).float(), torch.zeros(PARTICLES, 2))
    latents = 8.0 * torch.randn(PARTICLES, 1, generator=random)
    field = RigidBodies(density, right.long(), density.sites, lambda z: moved(density.sites, z, right))
    own = density.values[field.site] * (field.body == right[field.site])
    coefficients = field.splat(own, latents, pose)
    scale = float(coefficients.abs().square().mean().sqrt())
    spoilt = coefficients + noise * scale * torch.randn(coefficients.shape, dtype=coefficients.dtype, generator=random)
    return Batch(torch.arange(PARTICLES), pose, torch.ones_like(coefficients), lambda: spoilt, latents=latents)


def asked(density: CanonicalMap, bodies: Tensor, right: Tensor, noise: float) -> Tensor:
    """The ``bodies`` that images show, of which what is on the ``right`` slid."""
    batch = seen(density, right, noise)

    def batches() -> Iterator[Batch]:
        yield batch

    moves = lambda latents: moved(density.sites, latents, right)  # noqa: E731
    return told_apart(density, bodies, density.sites, moves, batches, torch.ones(GRID.n_shells))


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_images_say_where_one_body_ends(density: CanonicalMap, noise: float) -> None:
    x = density.sites[:, 0]
    right, bodies = x > 0.0, (x > 11.0).long()
    wrong = [float((bodies != right).float().mean())]
    for _ in range(2):
        bodies = asked(density, bodies, right, noise)
        wrong.append(float((bodies != right).float().mean()))
    assert wrong[0] > 0.15
    assert wrong[1] < 0.5 * wrong[0] and wrong[2] < 0.05


def test_a_voxel_far_from_a_body_does_not_go_with_it(density: CanonicalMap) -> None:
    right = density.sites[:, 0] > 0.0
    field = RigidBodies(density, right.long(), density.sites, lambda z: moved(density.sites, z, right))
    own = field.body == right[field.site]
    assert torch.equal(field.site[own].sort().values, torch.arange(len(right)))
    assert bool((density.sites[field.site[~own], 0].abs() < 30.0).all()) and bool((~own).any())


def test_a_body_that_hardly_has_a_voxel_is_none(density: CanonicalMap) -> None:
    right = density.sites[:, 0] > 0.0
    bodies = 2 * right.long()
    bodies[:5] = 1
    found = asked(density, bodies, right, 0.0)
    assert torch.equal(found.unique(), torch.tensor([0, 1]))
    assert (found == right.long()).float().mean() > 0.97


def test_every_voxel_goes_with_some_body(density: CanonicalMap) -> None:
    near = density.sites[:, 1] < -20.0
    points = density.sites[near]
    field = RigidBodies(density, (points[:, 0] > 0.0).long(), points, lambda z: points.expand(len(z), -1, -1))
    assert torch.equal(field.site.unique(), torch.arange(len(near)))
