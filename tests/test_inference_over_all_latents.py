"""Laws of inference over all latents, against an integral over a grid: evidence, the mean and spread of a posterior."""

from __future__ import annotations

import math

import pytest
import torch

from dynaflex.imaging.batch import Batch
from dynaflex.inference.energy import energy_of
from dynaflex.inference.integral import KNOWN_TO, energy_of_mean, log_evidence, on_the_mean
from dynaflex.inference.newton import infer
from dynaflex.latents.posterior import Normal
from dynaflex.latents.prior import GAUSSIAN, QUARTIC_WALL, LatentPrior
from dynaflex.model import FlexModel
from dynaflex.shapes import Tensor
from seen import seen
from test_inference import LATENTS, PARTICLES, model, observed, seeded, shifting, truth, weights

__all__ = ["model", "shifting", "truth"]

SOME = torch.arange(24)
AXIS = torch.linspace(-5.0, 5.0, 61)
STATES = torch.cartesian_prod(AXIS, AXIS)
CELL = float(AXIS[1] - AXIS[0]) ** LATENTS / (2.0 * math.pi) ** (LATENTS / 2)


def energies(model: FlexModel, batch: Batch, power: float) -> Tensor:
    """Those ``(m b)`` of images in all states of the grid."""
    everyone = [z.expand(len(batch.index), -1) for z in STATES]
    return torch.stack([energy_of(model, batch, weights(power), z) for z in everyone])


@pytest.mark.parametrize("power", [0.5, 2.0, 8.0])
def test_the_evidence_is_the_likelihood_over_all_latents(shifting: FlexModel, truth: Tensor, power: float) -> None:
    """Against the integral over a grid: where the images say much or little, and where they show nothing but noise.

    The normal distribution around the likeliest latents errs by 0.2 nats in the second and by 0.4 in the third.
    """
    for told in (truth, torch.zeros_like(truth)):
        batch = observed(shifting, told, power).take(SOME)
        posterior = infer(shifting, batch, weights(power), told[SOME], 6)
        found = log_evidence(shifting, batch, weights(power), posterior)
        error = found - (-energies(shifting, batch, power)).logsumexp(dim=0) - math.log(CELL)
        assert error.square().mean().sqrt() < 0.15 and error.mean().abs() < KNOWN_TO
        assert power > 0.5 or error.abs().max() < 0.2


@pytest.mark.parametrize("power", [0.5, 2.0, 8.0])
def test_the_mean_is_that_of_all_latents(shifting: FlexModel, truth: Tensor, power: float) -> None:
    batch, noise = observed(shifting, truth, power).take(SOME), weights(power)
    share = (-energies(shifting, batch, power)).softmax(dim=0)
    mean = torch.einsum("mb, mk -> bk", share, STATES)
    spread = torch.einsum("mb, mk, ml -> bkl", share, STATES, STATES) - mean[:, :, None] * mean[:, None]
    likeliest = infer(shifting, batch, noise, truth[SOME], 6)
    found = on_the_mean(shifting, batch, noise, likeliest)
    width = spread.diagonal(dim1=1, dim2=2).sqrt()
    off, off_of_likeliest = (((one.mean - mean) / width).square().mean().sqrt() for one in (found, likeliest))
    assert off < 0.12
    assert power == 0.5 or off < 0.6 * off_of_likeliest
    wider = found.log_scale.exp() / width
    assert wider.min() > 0.8 and wider.max() < 1.15 and abs(float(wider.mean()) - 1.0) < 0.04


def test_the_mean_errs_less_than_the_likeliest(model: FlexModel, truth: Tensor) -> None:
    """Where latents have several minima, as they have here: that of the greatest part need not be the lowest."""
    power = 0.6
    batch, noise = observed(model, truth, power), weights(power)
    likeliest = infer(model, batch, noise, truth, 6)
    mean, of_likeliest = (
        (found.mean - truth).square().mean() for found in (on_the_mean(model, batch, noise, likeliest), likeliest)
    )
    assert mean < 0.95 * of_likeliest


def test_an_image_that_tells_nothing_leaves_the_latents_of_the_prior(model: FlexModel, truth: Tensor) -> None:
    """Exactly, however few are drawn: what draws miss depends on how much an image tells, and so on its contrast."""
    batch, noise = observed(model, truth, 0.6), weights(1e8)
    found = on_the_mean(model, batch, noise, infer(model, batch, noise, truth, 6))
    assert found.mean.abs().max() < 1e-4


def test_draws_that_do_not_agree_leave_the_spread_as_it_was(shifting: FlexModel, truth: Tensor) -> None:
    """Of a posterior that is far too wide one draw is right, by chance: alone, it has no spread."""
    batch, noise = observed(shifting, truth, 0.001).take(SOME), weights(0.001)
    likeliest = infer(shifting, batch, noise, truth[SOME], 6)
    wide = Normal.of(likeliest.mean, 1e4 * likeliest.covariance)
    found = on_the_mean(shifting, batch, noise, wide)
    assert found.log_scale.exp().min() > likeliest.log_scale.exp().max()


@pytest.mark.parametrize("prior", [GAUSSIAN, QUARTIC_WALL])
def test_images_of_the_mean_are_likeliest_by_the_mean(shifting: FlexModel, truth: Tensor, prior: LatentPrior) -> None:
    batch = observed(shifting, truth, 0.0)
    nowhere = torch.zeros(PARTICLES, LATENTS)
    drawn = prior.variance**0.5 * torch.randn(500, LATENTS, generator=seeded(9))
    both = torch.cat([drawn, -drawn])
    mean = torch.stack([shifting.render(shifting.deformed(nowhere + z), batch.pose, None) for z in both]).mean(dim=0)
    of_mean = seen(batch.pose, batch.ctf, mean)
    left = energy_of_mean(shifting, of_mean, weights(1.0), LATENTS, prior)
    at_rest = energy_of(shifting, of_mean, weights(1.0), nowhere, prior)
    assert float(left.mean()) < 0.02 * float(at_rest.mean())
