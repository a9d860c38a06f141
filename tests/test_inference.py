"""Laws of inference: the model's own images give their latents back, as surely as the noise allows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from dynaflex import fourier
from dynaflex.deformation.base import Deformation, Moves
from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose import Pose
from dynaflex.inference.descent import descend
from dynaflex.inference.energy import energy_of
from dynaflex.inference.newton import infer
from dynaflex.inference.search import FROM_NOTHING, best_start, find_latents
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.prior import GAUSSIAN, QUARTIC_WALL, LatentPrior
from dynaflex.latents.table import LatentTable
from dynaflex.model import FlexModel
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from seen import seen

GRID = Grid(32, 6.0)
PARTICLES, LATENTS = 100, 2
LADDERS = (0.5, 0.2, 0.05)


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


class Shifts(Deformation):
    """Every latent shifts a part of the points, 6 Å per unit: the first along x, the second along y."""

    def at(self, points: Tensor) -> Moves:
        part = torch.arange(len(points)) % LATENTS

        def moves(latents: Tensor) -> Tensor:
            moved = torch.zeros(len(latents), len(points), 3)
            for k in range(LATENTS):
                moved[:, part == k, k] = 6.0 * latents[:, k, None]
            return moved

        return moves


@pytest.fixture(scope="module")
def shifting(model: FlexModel) -> FlexModel:
    """The same cloud, in which no latent does what another does."""
    return FlexModel(model.density, Shifts(), model.latents, GRID).requires_grad_(False)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    return torch.randn(PARTICLES, LATENTS, generator=seeded(4))


def observed(model: FlexModel, truth: Tensor, power: float, seed: int = 5) -> Batch:
    """Images that the model itself predicts at ``truth``, plus white noise of the given power."""
    pose = Pose(random_rotations(PARTICLES, seeded(6)).float(), torch.zeros(PARTICLES, 2))
    noise = torch.randn(PARTICLES, GRID.box, GRID.box, generator=seeded(seed)) * math.sqrt(power)
    coefficients = model.render(model.deformed(truth), pose, None) + fourier.transform(noise, 2)
    return seen(pose, torch.ones(PARTICLES, GRID.box, GRID.box // 2 + 1), coefficients)


def weights(power: float) -> Tensor:
    return noise_weights(torch.full((GRID.n_shells,), power), GRID)


def test_noiseless_images_give_their_latents_back(model: FlexModel, truth: Tensor) -> None:
    found = infer(model, observed(model, truth, 0.0), weights(1e-4), truth + 0.3, 12)
    assert (found.mean - truth).abs().max() < 2e-3


def test_held_out_particles_are_found_from_nothing(model: FlexModel, truth: Tensor) -> None:
    axis = torch.linspace(-2.0, 2.0, 5)
    batch, index = observed(model, truth, 0.01), torch.arange(PARTICLES).flip(0)
    found = find_latents(model, batch.take, index, weights(0.01), None, torch.cartesian_prod(axis, axis), size=32)
    error = (found.mean - truth[index]).abs().amax(dim=1)
    assert float((error < 0.2).float().mean()) >= 0.97


def test_the_best_start_is_the_nearest_candidate(model: FlexModel, truth: Tensor) -> None:
    candidates = torch.tensor([[3.0, 0.0], [0.0, 0.0], [-3.0, 0.0]])
    which = torch.arange(PARTICLES) % 3
    batch = observed(model, candidates[which] + 0.05 * truth, 0.01)
    assert torch.equal(best_start(model, batch, weights(0.01), candidates), candidates[which])


def test_who_stands_best_stays_and_what_is_no_number_is_nowhere(model: FlexModel, truth: Tensor) -> None:
    candidates = torch.tensor([[math.nan, 0.0], [0.0, 0.0]])
    batch = observed(model, truth, 0.01)
    assert torch.equal(best_start(model, batch, weights(0.01), candidates, here=truth), truth)
    lost = torch.full_like(truth, math.nan)
    assert torch.equal(best_start(model, batch, weights(0.01), candidates, here=lost), torch.zeros_like(truth))


def test_a_latent_that_came_to_the_wrong_minimum_is_found_elsewhere(model: FlexModel, truth: Tensor) -> None:
    batch, index = observed(model, truth, 0.01), torch.arange(PARTICLES)
    start = -truth
    stuck = infer(model, batch, weights(0.01), start, FROM_NOTHING).mean
    wrong = (stuck - truth).abs().amax(dim=1) > 0.5
    assert int(wrong.sum()) > 10, "small steps do not lead there"
    axis = torch.linspace(-2.0, 2.0, 5)
    found = find_latents(model, batch.take, index, weights(0.01), start, torch.cartesian_prod(axis, axis), size=32).mean
    assert float(((found - truth).abs().amax(dim=1)[wrong] < 0.2).float().mean()) > 0.9


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


def test_without_iterations_latents_stay_and_their_widths_are_found(model: FlexModel, truth: Tensor) -> None:
    batch = observed(model, truth, 0.01)
    found = infer(model, batch, weights(0.01), truth, 12)
    again = infer(model, batch, weights(0.01), found.mean, 0)
    assert torch.equal(again.mean, found.mean)
    assert torch.allclose(again.log_scale, found.log_scale, atol=0.02)


Search = Callable[[FlexModel, Batch, Tensor, Tensor, LatentPrior], Posterior]
SEARCHES: dict[str, Search] = {
    **{f"newton-{n}": lambda m, b, w, z, p, n=n: infer(m, b, w, z, n, p) for n in (1, 2, FROM_NOTHING)},
    **{f"descent-{n}": lambda m, b, w, z, p, n=n: descend(m, b, w, z, LADDERS[:n], p) for n in (1, 2, 3)},
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("prior", [GAUSSIAN, QUARTIC_WALL], ids=["gaussian", "wall"])
def test_no_particle_ends_worse_than_it_began(
    model: FlexModel, truth: Tensor, search: Search, prior: LatentPrior
) -> None:
    """Far from the answer a step of Gauss-Newton can lead astray, and so can a parabola; it is refused."""
    batch, start = observed(model, truth, 0.01), -4.0 * truth
    found = search(model, batch, weights(0.01), start, prior)
    before, after = (energy_of(model, batch, weights(0.01), z, prior) for z in (start, found.mean))
    assert bool((after <= before * (1.0 + 1e-6)).all())
    assert float((after < before).float().mean()) > 0.5


@pytest.mark.parametrize("prior", [GAUSSIAN, QUARTIC_WALL], ids=["gaussian", "wall"])
def test_both_searches_find_the_same_optimum(shifting: FlexModel, truth: Tensor, prior: LatentPrior) -> None:
    """It is one: by central differences of the energy, the vertex of its parabola along every latent is there."""
    near = truth.clamp(-0.8, 0.8)
    batch, noise = observed(shifting, near, 0.01), weights(0.01)
    newton = infer(shifting, batch, noise, near + 0.2, 12, prior).mean
    descent = descend(shifting, batch, noise, near + 0.2, (0.2, 0.05, 0.05), prior).mean
    assert (newton - descent).abs().max() < 5e-3
    for k in range(LATENTS):
        step = 0.05 * torch.eye(LATENTS)[k]
        below, here, above = (energy_of(shifting, batch, noise, newton + side * step, prior) for side in (-1, 0, 1))
        assert (0.05 * 0.5 * (below - above) / (below - 2.0 * here + above)).abs().max() < 5e-3


def test_coordinate_descent_finds_the_truth_without_noise(shifting: FlexModel, truth: Tensor) -> None:
    found = descend(shifting, observed(shifting, truth, 0.0), weights(1e-4), truth + 0.3, (0.2, *[0.05] * 6))
    assert (found.mean - truth).abs().max() < 2e-3


def test_it_climbs_far_along_a_ladder(shifting: FlexModel, truth: Tensor) -> None:
    """The start may be further than the ladder reaches: its end is taken, then one goes on from there."""
    batch = observed(shifting, 0.1 * truth + 3.0, 0.01)
    found = descend(shifting, batch, weights(0.01), torch.zeros_like(truth), (0.5, 0.5, 0.5, 0.2, 0.05))
    assert float(((found.mean - 0.1 * truth - 3.0).abs() < 0.1).float().mean()) > 0.95


def test_both_searches_give_the_same_widths(shifting: FlexModel, truth: Tensor) -> None:
    """But for coordinates that hang together, where the width with the other held fixed is the smaller one."""
    batch, noise = observed(shifting, truth, 0.01), weights(0.01)
    newton, descent = infer(shifting, batch, noise, truth, 6), descend(shifting, batch, noise, truth, (0.2, 0.05))
    assert (descent.log_scale - newton.log_scale).exp().sub(1.0).abs().median() < 0.1
    deaf = descend(shifting, batch, weights(1e8), truth, (0.5, 0.2))
    assert torch.allclose(deaf.log_scale, torch.zeros(()), atol=1e-2)


def test_the_width_along_a_coordinate_is_below_that_of_all(model: FlexModel, truth: Tensor) -> None:
    batch, noise = observed(model, truth, 0.01), weights(0.01)
    newton, descent = infer(model, batch, noise, truth, 6), descend(model, batch, noise, truth, (0.05, 0.05))
    assert float((descent.log_scale < newton.log_scale + 0.1).float().mean()) > 0.95


@pytest.mark.parametrize("search", [SEARCHES["newton-6"], SEARCHES["descent-3"]], ids=["newton", "descent"])
def test_the_wall_holds_what_a_gaussian_lets_go(model: FlexModel, truth: Tensor, search: Search) -> None:
    far = 2.5 * torch.nn.functional.normalize(truth, dim=1)
    batch, noise = observed(model, far, 1.0), weights(1.0)
    start = torch.zeros_like(far)
    held, free = (
        search(model, batch, noise, start, prior).mean.abs().amax(dim=1) for prior in (QUARTIC_WALL, GAUSSIAN)
    )
    assert float(held.max()) < 1.5
    assert float((free > 1.5).float().mean()) > 0.3
