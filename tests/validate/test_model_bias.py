"""Laws of the control for what a model brings in: density that images have passes, and a foreign domain does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.judge.model_bias import share_in_images
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.controls import FAIL, PASS, density_in_images

GRID, BAND = Grid(32, 4.0), (1 / 24.0, 1 / 9.0)


def domain(seed: int, at: tuple[float, float, float]) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(at) + 8.0 * torch.randn(60, 3, generator=generator)


def volume_of(points: Tensor) -> Array:
    one = torch.ones(1)
    whole = GaussianDensity(points, one, 20.0 * one).volume(GRID).detach()
    low, high = (fourier.low_pass(whole, GRID, 1.0 / frequency) for frequency in BAND)
    return (high - low).double().numpy()


def verdict(model: Tensor, truth: Tensor, noise: float) -> tuple[str, Array]:
    true, random = volume_of(truth), np.random.default_rng(4)
    first, second = (true + noise * true.std() * random.normal(size=true.shape) for _ in range(2))
    halved = (first - second) / np.sqrt(2.0)
    share, error = share_in_images(volume_of(model), first, halved, model.numpy(), GRID, BAND)
    return density_in_images("density", share, error, "").verdict, share


BODY, ARM = domain(1, (-18.0, 0.0, 0.0)), domain(2, (24.0, 0.0, 0.0))


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.5])
def test_a_model_of_what_was_seen_passes(noise: float) -> None:
    found, share = verdict(torch.cat([BODY, ARM]), torch.cat([BODY, ARM]), noise)
    assert found == PASS
    assert float(np.median(share)) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("foreign", [domain(3, (0.0, 34.0, 0.0)), domain(4, (24.0, 0.0, 0.0))], ids=["added", "other"])
def test_a_domain_that_nobody_saw_fails(foreign: Tensor, noise: float) -> None:
    """Elsewhere, or in the place of the true one with the same envelope."""
    found, share = verdict(torch.cat([BODY, foreign]), torch.cat([BODY, ARM]), noise)
    assert found == FAIL
    assert float(np.median(share[:60])) == pytest.approx(1.0, abs=0.15)


def test_a_part_that_was_left_out_is_no_foreign_one() -> None:
    assert verdict(BODY, torch.cat([BODY, ARM]), 0.5)[0] == PASS


def test_what_noise_leaves_open_does_not_fail() -> None:
    share, error = np.full(40, 0.3), np.full(40, 0.1)
    assert density_in_images("density", share, error, "").verdict != FAIL
    assert density_in_images("density", share, error / 10.0, "").verdict == FAIL
