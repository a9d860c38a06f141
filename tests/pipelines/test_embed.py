"""Laws of the embedding: the model's own images give their latents back, as surely as the noise allows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from dynaflex import fourier
from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose import Pose
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.model import Batch, FlexModel
from dynaflex.pipelines.embed import FROM_NOTHING, best_start, embed, infer
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

GRID = Grid(32, 6.0)
PARTICLES, LATENTS = 100, 2


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model() -> FlexModel:
    """A cloud of 60 Gaussians that a smooth decoder moves by several Å."""
    positions = torch.randn(60, 3, generator=seeded(0)) * torch.tensor([35.0, 20.0, 20.0])
    density = GaussianDensity(positions, torch.tensor([0.4]), torch.tensor([60.0]))
    decoder = CoordinateMLP(LATENTS, GRID.width, layers=3, frequencies=3, finest=150.0, generator=seeded(1))
    with torch.no_grad():
        decoder.w_out.copy_(torch.randn(decoder.w_out.shape, generator=seeded(2)) * 0.15)
    return FlexModel(density, decoder, LatentTable(PARTICLES, LATENTS, seeded(3)), GRID).requires_grad_(False)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    return torch.randn(PARTICLES, LATENTS, generator=seeded(4))


def observed(model: FlexModel, truth: Tensor, power: float, seed: int = 5) -> Batch:
    """Images that the model itself predicts at ``truth``, plus white noise of the given power."""
    pose = Pose(random_rotations(PARTICLES, seeded(6)).float(), torch.zeros(PARTICLES, 2))
    noise = torch.randn(PARTICLES, GRID.box, GRID.box, generator=seeded(seed)) * math.sqrt(power)
    coefficients = model.render(model.deformed(truth), pose, None) + fourier.transform(noise, 2)
    images = fourier.inverse_transform(coefficients, 2)
    ones = torch.ones(PARTICLES, GRID.box, GRID.box // 2 + 1)
    return Batch(torch.arange(PARTICLES), images, coefficients, pose, ones, torch.zeros(PARTICLES, LATENTS))


def weights(power: float) -> Tensor:
    return noise_weights(torch.full((GRID.n_shells,), power), GRID)


def part_of(batch: Batch) -> Callable[[Tensor], Batch]:
    """Any of the particles of a batch."""
    return lambda i: Batch(i, batch.images[i], batch.coefficients[i], batch.pose[i], batch.ctf[i], batch.noise[i])


def test_noiseless_images_give_their_latents_back(model: FlexModel, truth: Tensor) -> None:
    found = infer(model, observed(model, truth, 0.0), weights(1e-4), truth + 0.3, 12)
    assert (found.mean - truth).abs().max() < 2e-3


def test_held_out_particles_are_found_from_nothing(model: FlexModel, truth: Tensor) -> None:
    axis = torch.linspace(-2.0, 2.0, 5)
    batch, index = observed(model, truth, 0.01), torch.arange(PARTICLES).flip(0)
    found = embed(model, part_of(batch), index, weights(0.01), None, torch.cartesian_prod(axis, axis), size=32)
    error = (found.mean - truth[index]).abs().amax(dim=1)
    assert float((error < 0.2).float().mean()) >= 0.97


def test_the_best_start_is_the_nearest_candidate(model: FlexModel, truth: Tensor) -> None:
    candidates = torch.tensor([[3.0, 0.0], [0.0, 0.0], [-3.0, 0.0]])
    which = torch.arange(PARTICLES) % 3
    batch = observed(model, candidates[which] + 0.05 * truth, 0.01)
    assert torch.equal(best_start(model, batch, weights(0.01), candidates), candidates[which])


@pytest.mark.parametrize("power", [0.01, 0.1])
def test_the_scale_is_as_large_as_the_error(model: FlexModel, truth: Tensor, power: float) -> None:
    found = infer(model, observed(model, truth, power), weights(power), truth, 12)
    pull = (found.mean - truth) / found.log_scale.exp()
    assert float(pull.square().mean()) == pytest.approx(1.0, abs=0.3)


def test_the_scale_grows_with_the_noise_up_to_the_prior(model: FlexModel, truth: Tensor) -> None:
    batch = observed(model, truth, 0.0)
    quiet, louder, deaf = (infer(model, batch, weights(power), truth, 6) for power in (0.01, 0.04, 1e8))
    ratio = (louder.log_scale - quiet.log_scale).exp()
    assert ratio.min() > 1.0 and float(ratio.median()) == pytest.approx(2.0, rel=0.02)
    assert torch.allclose(deaf.log_scale, torch.zeros(()), atol=1e-4)
    assert torch.allclose(deaf.mean, torch.zeros(()), atol=1e-4)


@pytest.mark.parametrize("iterations", [1, 2, FROM_NOTHING])
def test_no_particle_ends_worse_than_it_began(model: FlexModel, truth: Tensor, iterations: int) -> None:
    """Far from the answer a step of Gauss-Newton can lead astray; it is refused."""
    batch, start = observed(model, truth, 0.01), -4.0 * truth

    def energy(z: Tensor) -> Tensor:
        prediction = model.render(model.deformed(z), batch.pose, batch.ctf)
        return data_loss(prediction, batch.coefficients, weights(0.01)) + 0.5 * z.square().sum(dim=1)

    before, after = energy(start), energy(infer(model, batch, weights(0.01), start, iterations).mean)
    assert bool((after <= before * (1.0 + 1e-6)).all())
    assert float((after < before).float().mean()) > 0.5
