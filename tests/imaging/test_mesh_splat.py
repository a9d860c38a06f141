"""Images of what a mesh carries: the same as of the points themselves, and with the same adjoint."""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.splat import gather, splat
from dynaflex.kernels import MeshTable
from dynaflex.rotations import random_rotations

GRID = Grid(24, 2.0)
# One tetrahedron around lattice points within 9 Å of the centre.
VERTICES = torch.tensor([[-40.0, -40.0, -40.0], [60.0, -20.0, -20.0], [-20.0, 60.0, -20.0], [-20.0, -20.0, 60.0]])
STEPS = torch.arange(-4.0, 5.0)
POINTS = torch.cartesian_prod(STEPS, STEPS, STEPS) * GRID.pixel_size
TABLE = MeshTable(VERTICES, torch.tensor([[0, 1, 2, 3]]), POINTS, torch.zeros(len(POINTS)).long(), GRID.pixel_size)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_carried_points_give_the_image_of_the_points() -> None:
    rows = random_rotations(3, seeded())[:, :2].double()
    weights = torch.rand(len(POINTS), generator=seeded(1), dtype=torch.float64)
    carried = splat((rows @ VERTICES.double().T).transpose(1, 2), weights, GRID, TABLE)
    direct = splat((rows @ POINTS.double().T).transpose(1, 2), weights, GRID)
    assert torch.allclose(carried, direct)


def test_gather_with_a_table_is_the_adjoint_of_splat_with_it() -> None:
    image_positions = (random_rotations(3, seeded())[:, :2].double() @ VERTICES.double().T).transpose(1, 2)
    image_positions = image_positions + torch.randn(3, 4, 2, generator=seeded(2), dtype=torch.float64)
    weights = torch.rand(len(POINTS), generator=seeded(1), dtype=torch.float64)
    images = torch.randn(3, GRID.box, GRID.box, generator=seeded(3), dtype=torch.float64)
    projected = fourier.inverse_transform(splat(image_positions, weights, GRID, TABLE), 2)
    back = gather(image_positions, fourier.transform(images, 2), GRID, TABLE)
    assert torch.allclose((projected * images).sum(), (weights * back).sum())
