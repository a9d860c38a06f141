"""Local resolution tells a sharp region from a blurred one."""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.validate.local_resolution import local_resolution

GRID = Grid(48, 3.0)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(48, 48, 48, generator=torch.Generator().manual_seed(seed))


def test_sharp_and_blurred_regions_are_told_apart() -> None:
    left = (GRID.axis() < 0).float().expand(48, 48, 48)
    signal = 3.0 * noise(0) * left + 8.0 * fourier.low_pass(noise(1), GRID, 20.0) * (1 - left)
    radius = GRID.radius_of_points().view(48, 48, 48)
    mask = (radius < 60).float()
    found = local_resolution(signal + noise(2), signal + noise(3), 3.0, mask)
    assert found[24, 24, 10] < 8.0
    assert 15.0 < found[24, 24, 38] < 35.0
    assert (found[mask == 0] == 0).all()


def test_noise_has_no_resolution() -> None:
    mask = torch.ones(48, 48, 48)
    assert local_resolution(noise(4), noise(5), 3.0, mask).median() > 30.0
