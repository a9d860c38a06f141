"""Laws of contrast: it is found with the error that is said, and not found where particles are alike."""

from __future__ import annotations

import pytest
import torch

from dynaflex.imaging.contrast import contrasts, matching
from dynaflex.shapes import Tensor

SEED = 0


def drawn(spread: float, error: float, count: int = 2000, mean: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """True contrasts, what images say of them, and the standard errors of that, which differ."""
    generator = torch.Generator().manual_seed(SEED)
    true = mean * torch.exp(spread * torch.randn(count, generator=generator) - 0.5 * spread**2)
    errors = error * (0.5 + torch.rand(count, generator=generator))
    return true, true + errors * torch.randn(count, generator=generator), errors


def test_an_image_says_its_contrast_as_well_as_its_noise_allows() -> None:
    generator = torch.Generator().manual_seed(SEED)
    prediction = torch.randn(4000, 8, 5, dtype=torch.complex64, generator=generator)
    weights = torch.rand(8, 5, generator=generator)
    # Noise whose inverse power, for real and imaginary parts alike, the weights are.
    noise = torch.randn(4000, 8, 5, dtype=torch.complex64, generator=generator) * (2.0 / weights).sqrt()
    factor, error = matching(prediction, 1.7 * prediction + noise, weights)
    assert float(((factor - 1.7) / error).mean().abs()) < 0.05
    assert float(((factor - 1.7) / error).std()) == pytest.approx(1.0, abs=0.05)


def test_contrasts_are_found_and_what_is_known_badly_stays_near_the_mean() -> None:
    true, factor, error = drawn(0.3, 0.3, mean=2.0)
    found = contrasts(factor, error, torch.arange(len(true)))
    relative = true / true.mean()
    assert float(found.mean()) == pytest.approx(1.0, abs=0.02)
    misses = (found - relative).square().mean().sqrt()
    assert misses < 0.9 * (factor / factor.mean() - relative).square().mean().sqrt() and misses < relative.std()
    assert float(torch.corrcoef(torch.stack([found, relative]))[0, 1]) > 0.7


@pytest.mark.parametrize("error", [0.02, 0.3, 5.0])
def test_particles_that_are_alike_have_contrast_one(error: float) -> None:
    _, factor, errors = drawn(0.0, error)
    assert torch.equal(contrasts(factor, errors, torch.arange(len(factor))), torch.ones(len(factor)))


def test_particles_outside_are_judged_by_those_inside() -> None:
    true, factor, error = drawn(0.3, 0.05)
    inside = torch.arange(1000)
    other = factor.clone()
    other[1000:] *= 1.5
    assert torch.equal(contrasts(other, error, inside)[:1000], contrasts(factor, error, inside)[:1000])
    assert float((contrasts(factor, error, inside)[1000:] / true[1000:]).log().std()) < 0.1


def test_what_is_no_number_has_contrast_one() -> None:
    _, factor, error = drawn(0.3, 0.05)
    factor[3], error[4] = torch.nan, torch.inf
    found = contrasts(factor, error, torch.arange(len(factor)))
    assert found.isfinite().all() and found[3] == 1.0
