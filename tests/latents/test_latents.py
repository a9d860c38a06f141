"""Posteriors, the table and the encoder."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import distributions
from torch.distributions import MultivariateNormal, kl_divergence

from dynaflex import fourier
from dynaflex.imaging.pose import Pose
from dynaflex.latents.encoder import Encoder
from dynaflex.latents.posterior import Normal, Posterior
from dynaflex.latents.sigma_points import sigma_points
from dynaflex.latents.table import LatentTable
from seen import seen


def test_divergence_is_that_of_the_normal_distributions() -> None:
    mean, log_scale = torch.randn(5, 3), torch.randn(5, 3)
    truth = kl_divergence(distributions.Normal(mean, log_scale.exp()), distributions.Normal(0.0, 1.0)).sum(dim=1)
    assert torch.allclose(Posterior(mean, log_scale).divergence(), truth, atol=1e-5)


def test_samples_have_the_posteriors_moments() -> None:
    posterior = Posterior(torch.full((20000, 1), 2.0), torch.full((20000, 1), -0.7))
    drawn = posterior.sample(torch.randn(20000, 1, generator=torch.Generator().manual_seed(0)))
    assert abs(drawn.mean() - 2.0) < 0.02
    assert abs(drawn.std() / torch.tensor(-0.7).exp() - 1) < 0.03


def test_samples_hang_together_as_the_posterior_does() -> None:
    curvature = torch.tensor([[4.0, 3.0], [3.0, 4.0]]).expand(20000, 2, 2)
    posterior = Normal.around(torch.tensor([[1.0, -2.0]]).expand(20000, 2), curvature)
    drawn = posterior.sample(torch.randn(20000, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(drawn.T.cov(), posterior.covariance[0], atol=0.02)
    truth = MultivariateNormal(posterior.mean, precision_matrix=curvature).log_prob(drawn)
    assert torch.allclose(posterior.log_density(drawn) - math.log(2.0 * math.pi), truth, atol=1e-4)


def test_where_no_covariance_is_left_samples_are_as_wide_as_the_posterior() -> None:
    nothing = Normal(torch.zeros(1, 2), torch.tensor([[0.0, 0.5]]), torch.ones(1, 2, 2))
    assert torch.allclose(nothing.sample(torch.ones(1, 2)), torch.tensor([[0.0, 0.5]]).exp())


def test_only_the_rows_of_a_batch_change() -> None:
    table = LatentTable(10, 2, torch.Generator().manual_seed(0))
    before = table.table.weight.detach().clone()
    optimiser = torch.optim.SparseAdam(list(table.parameters()), lr=0.1)
    rows = torch.tensor([2, 7])
    for _ in range(3):
        optimiser.zero_grad()
        table.posterior_of(rows).mean.square().sum().backward()
        optimiser.step()
    changed = (table.table.weight.detach() != before).any(dim=1).nonzero()[:, 0]
    assert torch.equal(changed, rows)


def test_encoder_has_three_linear_layers_and_sees_the_image_alone() -> None:
    encoder = Encoder(4, 32)
    assert sum(isinstance(m, torch.nn.Linear) for m in encoder.modules()) == 3
    images = torch.randn(6, 32, 32)
    whole = seen(
        Pose(torch.eye(3).expand(6, 3, 3), torch.zeros(6, 2)), torch.ones(6, 32, 17), fourier.transform(images, 2)
    )
    one, two = encoder.posterior(whole), encoder.posterior(replace(whole, index=torch.zeros(6, dtype=torch.long)))
    assert one.mean.shape == (6, 4)
    assert torch.equal(one.mean, two.mean)


@pytest.mark.parametrize("idle", [0.0, 1.0])
def test_sigma_points_have_the_mean_and_the_covariance_of_the_latents(idle: float) -> None:
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 0.3], [0.0, 0.0, idle]])
    latents = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) @ mixing + 1.0
    points = sigma_points(latents)
    assert points.shape == (6, 3)
    torch.testing.assert_close(points.mean(dim=0), latents.mean(dim=0))
    covariances = [torch.cov(some.T, correction=0) for some in (points, latents)]
    torch.testing.assert_close(*covariances, rtol=1e-4, atol=1e-6)
