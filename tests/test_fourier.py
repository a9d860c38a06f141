"""Transforms, cropping, filters."""

from __future__ import annotations

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dim", [2, 3])
def test_transform_round_trip_and_origin(dim: int) -> None:
    data = torch.randn((12,) * dim, generator=seeded(), dtype=torch.float64)
    assert torch.allclose(fourier.inverse_transform(fourier.transform(data, dim), dim), data)
    delta = torch.zeros((12,) * dim, dtype=torch.float64)
    delta[(6,) * dim] = 1.0
    flat = fourier.transform(delta, dim)
    assert torch.allclose(flat, torch.ones_like(flat))


@pytest.mark.parametrize("dim", [2, 3])
def test_padding_then_cropping_loses_only_nyquist(dim: int) -> None:
    data = fourier.low_pass(torch.randn((16,) * dim, generator=seeded(), dtype=torch.float64), Grid(16, 1.0), 2.4)
    larger = fourier.resize(data, 24, dim)
    assert torch.allclose(fourier.resize(larger, 16, dim), data, atol=1e-6)
    assert torch.allclose(larger.mean(), data.mean())


def test_cropping_preserves_values_of_smooth_images() -> None:
    fine, coarse = Grid(64, 1.0), Grid(32, 2.0)
    images = [
        torch.exp(-(g.axis()[None, :].square() + g.axis()[:, None].square()) / 100.0)[None] for g in (fine, coarse)
    ]
    assert (fourier.crop_images(images[0], 32) - images[1]).abs().max() < 1e-4


def test_shift_moves_by_whole_pixels_exactly() -> None:
    grid = Grid(16, 2.0)
    image = torch.randn(1, 16, 16, generator=seeded())
    moved = fourier.shift(fourier.transform(image, 2), grid, torch.tensor([[4.0, -2.0]]))
    # At Nyquist a real image cannot carry the sign of a shift; whole pixels are exact all the same.
    assert torch.allclose(fourier.inverse_transform(moved, 2), image.roll((2, -1), dims=(2, 1)), atol=1e-5)


def test_parseval_with_hermitian_weights() -> None:
    grid = Grid(12, 1.0)
    volume = torch.randn(12, 12, 12, generator=seeded(), dtype=torch.float64)
    power = fourier.transform(volume, 3).abs().square()
    total = (power * fourier.hermitian_weights(grid, 3)).sum() / 12**3
    assert torch.allclose(total, volume.square().sum())


def test_shell_mean_of_a_radial_function_is_the_function() -> None:
    grid = Grid(16, 1.0)
    values = grid.shells(3).double() ** 2
    assert torch.allclose(fourier.shell_mean(values, grid, 3), torch.arange(9.0, dtype=torch.float64) ** 2)
    assert torch.equal(fourier.spread_shells(torch.arange(9.0), grid, 3), grid.shells(3).clamp(max=8).float())


def test_low_pass_keeps_below_and_removes_beyond() -> None:
    grid = Grid(32, 2.0)
    volume = torch.randn(32, 32, 32, generator=seeded())
    before, after = fourier.transform(volume, 3), fourier.transform(fourier.low_pass(volume, grid, 16.0), 3)
    radius = grid.radius(3)
    assert (after[radius > 4.5]).abs().max() < 1e-3 * before.abs().max()
    assert torch.allclose(after[radius < 1.5], before[radius < 1.5], rtol=1e-3)
