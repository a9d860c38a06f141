"""Laws of the maps of a half: both from the same images, and the rigid one wherever nothing is carried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.operator import Operator
from dynaflex.results.half_maps.made import SOLVERS, both_maps
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation
from moved import MovedField
from seen import seen

GRID = Grid(32, 4.0)


def drift(latents: Tensor, points: Tensor) -> Tensor:
    """What is right of the middle moves along z."""
    along = torch.tensor([0.0, 0.0, 4.0]) * torch.sigmoid(points[:, :1] / 3.0)
    return latents[:, :1, None] * along


def blobs(grid: Grid) -> Tensor:
    """A molecule of small balls, within 20 Å of the middle."""
    generator = torch.Generator().manual_seed(1)
    centres = 10.0 * torch.randn(30, 3, generator=generator).clamp(-1.5, 1.5)
    squares = torch.cdist(grid.points(), centres).square()
    return torch.exp(-squares / (2.0 * 4.0**2)).sum(dim=1).view(grid.box, grid.box, grid.box)


@pytest.fixture(scope="module")
def particles() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    field, batches = MovedField(GRID, drift), []
    for _ in range(20):
        pose = Pose(random_rotations(16, generator).float(), torch.randn(16, 2, generator=generator))
        bare = seen(pose, torch.ones(16, 32, 17), latents=torch.randn(16, 1, generator=generator))
        images = field.splat(field.region.from_volume(blobs(GRID)), bare.latents, pose)
        noise = fourier.transform(2.0 * torch.randn(16, 32, 32, generator=generator), 2)
        batches.append(seen(pose, bare.ctf, images + noise, bare.latents))
    return batches


@pytest.mark.parametrize("solver", SOLVERS)
def test_around_the_mask_is_the_map_and_elsewhere_the_rigid_one(solver: str, particles: list[Batch]) -> None:
    asked: list[int] = []

    def batches() -> Iterator[Batch]:
        asked.append(1)
        yield from particles

    mask = (GRID.radius_of_points() < 22.0).float().view(32, 32, 32)
    near = Region.around(mask, GRID)
    rigid, corrected = both_maps(Operator(MovedField(GRID, drift, near)), batches, solver)
    outside = near.to_volume(torch.ones(len(near))) == 0.0
    assert torch.equal(rigid[outside], corrected[outside]) and rigid[outside].abs().max() > 0.0
    whole = both_maps(Operator(MovedField(GRID, drift)), batches, solver)
    assert torch.equal(rigid, whole[0])
    truth = blobs(GRID)
    of_rigid, of_near, of_whole = (
        float(fourier_shell_correlation(volume, truth, mask)[2:10].mean()) for volume in (rigid, corrected, whole[1])
    )
    assert of_near > of_rigid + 0.003
    assert of_near > of_whole - 0.005
