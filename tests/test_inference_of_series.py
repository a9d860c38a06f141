"""Laws of inference from several images of one particle, as tilt series have them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dynaflex import fourier
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose
from dynaflex.inference.descent import descend
from dynaflex.inference.energy import energy_of
from dynaflex.inference.newton import infer
from dynaflex.inference.search import FROM_NOTHING, best_start, find_latents
from dynaflex.latents.prior import GAUSSIAN, QUARTIC_WALL, LatentPrior
from dynaflex.model import FlexModel
from dynaflex.rotations import random_rotations
from dynaflex.series import Series
from dynaflex.shapes import Tensor
from seen import seen
from swinging import misfit_of
from test_inference import GRID, LATENTS, PARTICLES, model, observed, seeded, shifting, truth, weights

__all__ = ["model", "shifting", "truth"]
IMAGES = 4


def repeated(batch: Batch, times: int) -> Batch:
    """Every image several times, as the images of one particle."""
    index = torch.arange(len(batch)).repeat_interleave(times)
    return replace(batch.take(index), particle=index)


def series_of(model: FlexModel, truth: Tensor, power: float) -> Batch:
    """Every particle in images from different sides, each in noise of its own."""
    particle = torch.arange(PARTICLES).repeat_interleave(IMAGES)
    count = len(particle)
    pose = Pose(random_rotations(count, seeded(20)).float(), torch.zeros(count, 2))
    noise = torch.randn(count, GRID.box, GRID.box, generator=seeded(21)) * math.sqrt(power)
    images = model.render(model.deformed(truth)[particle], pose, None) + fourier.transform(noise, 2)
    return replace(seen(pose, torch.ones(images.shape), images), particle=particle)


def test_equal_images_are_as_precise_as_they_are_many(shifting: FlexModel, truth: Tensor) -> None:
    """The precision, less that of the prior, is that of one image, times their number."""
    one = observed(shifting, truth, 0.5)
    alone = infer(shifting, one, weights(0.5), truth, 0)
    prior = torch.eye(LATENTS)
    for times in (2, 5):
        many = infer(shifting, repeated(one, times), weights(0.5), truth.repeat_interleave(times, dim=0), 0)
        gained = torch.linalg.inv(many.covariance[::times]) - prior
        assert torch.allclose(gained, times * (torch.linalg.inv(alone.covariance) - prior), rtol=1e-3)


@pytest.mark.parametrize("prior", [GAUSSIAN, QUARTIC_WALL])
def test_a_particle_has_the_energy_of_its_images_and_one_prior(
    model: FlexModel, truth: Tensor, prior: LatentPrior
) -> None:
    batch = series_of(model, truth, 0.1)
    z = truth.repeat_interleave(IMAGES, dim=0) + 0.1
    misfit = misfit_of(model, batch, weights(0.1), z).view(PARTICLES, IMAGES).sum(1)
    expected = (misfit + prior.energy(truth + 0.1)).repeat_interleave(IMAGES)
    assert torch.allclose(energy_of(model, batch, weights(0.1), z, prior), expected, rtol=1e-5)


def test_images_of_a_particle_have_one_conformation_and_it_is_nearer(model: FlexModel, truth: Tensor) -> None:
    power, start = 4.0, truth.repeat_interleave(IMAGES, dim=0)
    together = series_of(model, truth, power)
    apart = replace(together, particle=torch.zeros(0, dtype=torch.int64))
    for find in (lambda batch: infer(model, batch, weights(power), start, 6).mean,
                 lambda batch: descend(model, batch, weights(power), start, (0.5, 0.2), GAUSSIAN).mean):  # fmt: skip
        found = find(together)
        assert torch.equal(found, found[::IMAGES].repeat_interleave(IMAGES, dim=0))
        error, alone = ((z - start).square().mean() for z in (found, find(apart)))
        assert error < 0.6 * alone


def test_whole_particles_are_found_from_nothing(model: FlexModel, truth: Tensor) -> None:
    """However few images are looked at together, and also by the best of candidates alone."""
    axis = torch.linspace(-2.0, 2.0, 5)
    candidates = torch.cartesian_prod(axis, axis)
    batch, rows = series_of(model, truth, 0.01), torch.arange(IMAGES * PARTICLES)
    series = Series(batch.particle)
    found = find_latents(model, batch.take, rows, weights(0.01), None, candidates, size=3 * IMAGES - 1, series=series)
    assert torch.equal(found.mean, found.mean[::IMAGES].repeat_interleave(IMAGES, dim=0))
    error = (found.mean[::IMAGES] - truth).abs().amax(dim=1)
    assert float((error < 0.2).float().mean()) >= 0.97
    best = best_start(model, batch, weights(0.01), candidates)
    assert torch.equal(best, best[::IMAGES].repeat_interleave(IMAGES, dim=0))


def test_a_particle_with_one_image_is_found_as_ever(model: FlexModel, truth: Tensor) -> None:
    batch, start = observed(model, truth, 1.0), torch.randn(PARTICLES, LATENTS, generator=seeded(8))
    own = replace(batch, particle=torch.arange(PARTICLES) + 7)
    for name in ("mean", "covariance"):
        one, other = (getattr(infer(model, some, weights(1.0), start, FROM_NOTHING), name) for some in (batch, own))
        assert torch.equal(one, other)
