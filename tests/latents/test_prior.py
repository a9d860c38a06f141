"""Laws of the prior: its parts are derivatives of one another, its width is that of its distribution."""

from __future__ import annotations

import math

import pytest
import torch

from dynaflex.latents.prior import GAUSSIAN, QUARTIC_WALL, LatentPrior

PRIORS = [GAUSSIAN, QUARTIC_WALL, LatentPrior(3.0, 6.0)]


def latents() -> torch.Tensor:
    return torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_gaussian_is_the_unit_normal_distribution() -> None:
    z = latents()
    normal = torch.distributions.Normal(0.0, 1.0)
    offset = -normal.log_prob(torch.zeros(())) * z.shape[1]
    assert torch.allclose(GAUSSIAN.energy(z) + offset, -normal.log_prob(z).sum(dim=1))
    assert torch.equal(GAUSSIAN.gradient(z), z) and torch.equal(GAUSSIAN.curvature(z), torch.ones_like(z))


def test_the_wall_stands_at_one_and_a_half() -> None:
    at = QUARTIC_WALL.energy(torch.tensor([[0.5], [1.5], [-1.5]], dtype=torch.float64))
    assert at.tolist() == pytest.approx([1.25, 101.25, 101.25])


@pytest.mark.parametrize("prior", PRIORS)
def test_gradient_and_curvature_are_derivatives(prior: LatentPrior) -> None:
    z = latents().requires_grad_()
    (gradient,) = torch.autograd.grad(prior.energy(z).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), z)
    assert torch.allclose(prior.gradient(z), gradient)
    floor = 1.0 / prior.variance
    assert torch.allclose(prior.curvature(z), second.clamp(min=floor))
    assert prior.power == 2.0 or bool((second > 2.0 * floor).any())


@pytest.mark.parametrize("prior", PRIORS)
def test_the_variance_is_that_of_the_distribution(prior: LatentPrior) -> None:
    z = torch.linspace(-8.0, 8.0, 20001, dtype=torch.float64)[:, None]
    density = torch.exp(-prior.energy(z))
    variance = float((density * z[:, 0].square()).sum() / density.sum())
    assert math.isclose(variance, prior.variance, rel_tol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_it_is_lowest_at_the_origin_and_there_it_has_a_width(prior: LatentPrior) -> None:
    origin = torch.zeros(1, 2)
    assert float(prior.energy(origin)) == 0.0 and not prior.gradient(origin).any()
    assert prior.curvature(origin).tolist() == [pytest.approx([1.0 / prior.variance] * 2)]
