"""Laws of the linear start: what is linear is found, what is not there is not, and a bend is not a motion."""

from __future__ import annotations

import math

import pytest
import torch

from dynaflex import fourier, tell
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose, project
from dynaflex.imaging.splat import splat
from dynaflex.latents.subspace import (
    LinearSubspace,
    coarse_grid,
    fit_subspace,
    linear_latents,
    straight_coordinates,
)
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from seen import seen

GRID = Grid(16, 8.0)
PARTICLES, NOISE = 400, 0.15


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(x: float, y: float, z: float, width: float = 9.0) -> Tensor:
    distance = (GRID.points() - torch.tensor([x, y, z])).square().sum(dim=1)
    return torch.exp(-distance / (2.0 * width**2)).view(16, 16, 16)


MASK = (GRID.radius_of_points() < 44.0).float().view(16, 16, 16)
MEAN = (blob(0, 0, 0) + blob(25, 0, 0) + blob(0, -25, 0)) * MASK
PARTS = torch.stack([0.5 * (blob(25, 0, 14) - blob(25, 0, -14)), 0.4 * (blob(14, -25, 0) - blob(-14, -25, 0))]) * MASK


def latents_of(subspace: LinearSubspace, batches: list[Batch]) -> Tensor:
    return linear_latents(subspace, torch.arange(sum(map(len, batches))), lambda _everyone: batches)


def particles(latents: Tensor, noise: float, seed: int = 0) -> list[Batch]:
    """Exact images of the mean and the parts, seen through a CTF, with white noise of some standard deviation."""
    count = len(latents)
    pose = Pose(random_rotations(count, seeded(seed)).float(), torch.randn(count, 2, generator=seeded(seed + 1)) * 5.0)

    def every(value: float) -> Tensor:
        return torch.full((count,), value, dtype=torch.float64)

    ctf = transfer_function(
        CtfParams(
            defocus_u=every(15000.0) + torch.arange(count) * 20.0, defocus_v=every(15000.0), defocus_angle=every(0.0),
            voltage_kv=every(300.0), cs_mm=every(2.7), amplitude_contrast=every(0.1), phase_shift=every(0.0),
            b_factor=every(0.0), scale=every(1.0), dose=every(0.0),
            beam_tilt=torch.zeros(count, 2, dtype=torch.float64),
            odd_zernike=torch.zeros(count, 0, dtype=torch.float64),
            even_zernike=torch.zeros(count, 0, dtype=torch.float64),
        ),
        GRID,
    ).float()  # fmt: skip
    where = project(GRID.points(), pose)
    clean = splat(where, MEAN.flatten(), GRID)
    for k, part in enumerate(PARTS):
        clean = clean + latents[:, k, None, None] * splat(where, part.flatten(), GRID)
    grain = torch.randn(count, GRID.box, GRID.box, generator=seeded(seed + 2)) * noise
    coefficients = clean * ctf + fourier.transform(grain, 2)
    return [seen(pose[i], ctf[i], coefficients[i]) for i in torch.arange(count).split(150)]


def r2(found: Tensor, true: Tensor) -> list[float]:
    """How much of each column ``(p)`` of ``true`` a linear map of ``found`` explains."""
    known = torch.cat([torch.ones(len(found), 1), found], dim=1)
    left = true - known @ torch.linalg.lstsq(known, true).solution
    return (1.0 - left.var(dim=0) / true.var(dim=0)).tolist()


@pytest.fixture(scope="module")
def truth() -> Tensor:
    return torch.randn(PARTICLES, 2, generator=seeded(9))


@pytest.fixture(scope="module")
def fitted(truth: Tensor) -> tuple[LinearSubspace, list[Batch]]:
    batches = particles(truth, NOISE)
    return fit_subspace(lambda: batches, MASK, GRID, 2, seeded(0)), batches


def test_linear_components_are_recovered(fitted: tuple[LinearSubspace, list[Batch]], truth: Tensor) -> None:
    subspace, batches = fitted
    latents = latents_of(subspace, batches)
    assert min(r2(latents, truth)) > 0.95
    found = torch.linalg.qr(subspace.components.flatten(1).T)[0]
    true = torch.linalg.qr(PARTS.flatten(1).T)[0]
    assert float(torch.linalg.svdvals(found.T @ true).min()) > 0.95
    mean_error = (subspace.mean - MEAN).norm() / MEAN.norm()
    assert mean_error < 0.15


def test_latents_have_unit_variance_and_components_are_orthogonal(
    fitted: tuple[LinearSubspace, list[Batch]],
) -> None:
    subspace, batches = fitted
    latents = latents_of(subspace, batches)
    assert torch.allclose(latents.mean(dim=0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(latents.square().mean(dim=0), torch.ones(2), atol=1e-4)
    flat = subspace.components.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.diag(subspace.variance), atol=1e-3 * float(subspace.variance[0]))
    assert subspace.variance[0] > subspace.variance[1]
    assert not subspace.components[:, MASK < 0.2].any()


def test_the_variance_and_the_noise_are_those_of_the_particles(
    fitted: tuple[LinearSubspace, list[Batch]],
) -> None:
    subspace, _ = fitted
    true = torch.linalg.svdvals(PARTS.flatten(1)).square()
    assert torch.allclose(subspace.variance, true, rtol=0.35)
    assert torch.allclose(subspace.noise_power[1:-1], torch.full((GRID.n_shells - 2,), NOISE**2), rtol=0.15)


def test_particles_that_do_not_move_have_no_component_that_stands_out(
    fitted: tuple[LinearSubspace, list[Batch]],
) -> None:
    still = particles(torch.zeros(PARTICLES, 2), NOISE)
    variance = fit_subspace(lambda: still, MASK, GRID, 4, seeded(0)).variance
    assert variance[0] < 1.6 * variance[-1]
    assert variance[0] < 0.1 * fitted[0].variance[1]


def test_in_strong_noise_surplus_components_vanish_and_the_noise_is_known() -> None:
    """What a posterior leaves open counts as signal: leaving it out would take 1 % from the noise."""
    latents = torch.randn(800, 2, generator=seeded(9))
    noisy = particles(latents, 0.7)
    subspace = fit_subspace(lambda: noisy, MASK, GRID, 4, seeded(0))
    assert subspace.variance[2] < 0.01 * subspace.variance[1]
    assert (subspace.noise_power[1:-1].mean() / 0.49).sub(1.0).abs() < 0.006
    assert min(r2(latents_of(subspace, noisy), latents)) > 0.75


def test_the_same_seed_gives_the_same_subspace(fitted: tuple[LinearSubspace, list[Batch]]) -> None:
    subspace, batches = fitted
    again = fit_subspace(lambda: batches, MASK, GRID, 2, seeded(0))
    assert torch.equal(again.components, subspace.components)


class _Waiting:
    """Somebody who waits, and is told how far it is."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, float | None]] = []

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None:
        self.told.append((task, done, total))

    def say(self, message: str) -> None:
        raise AssertionError(message)

    note = warn = say


def test_who_waits_is_told_before_the_images_are_touched_and_with_every_round() -> None:
    waiting, batches = _Waiting(), particles(torch.zeros(20, 2), NOISE)

    def images() -> list[Batch]:
        assert waiting.told, "work began without a word"
        return batches

    with tell.listening(waiting):
        fit_subspace(images, MASK, GRID, 2, seeded(0), iterations=3, task="first latents")
    assert {task for task, _, _ in waiting.told} == {"first latents"}
    assert sorted({(done, total) for _, done, total in waiting.told}) == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_the_images_are_found_wherever_the_batches_end(
    fitted: tuple[LinearSubspace, list[Batch]], truth: Tensor
) -> None:
    subspace, batches = fitted
    whole = seen(
        Pose(torch.cat([b.pose.rotation for b in batches]), torch.cat([b.pose.shift for b in batches])),
        torch.cat([b.ctf for b in batches]),
        torch.cat([b.coefficients for b in batches]),
    )
    one, several = latents_of(subspace, [whole]), latents_of(subspace, batches)
    assert torch.allclose(one, several, atol=1e-4)


def test_coarse_images_are_those_of_cropped_particles() -> None:
    fine = Grid(32, 4.0)
    assert coarse_grid(fine, 20.0) == GRID and coarse_grid(Grid(64, 3.0), 20.0) == Grid(24, 8.0)
    images = torch.randn(3, 32, 32, generator=seeded(0))
    pose = Pose(torch.eye(3).expand(3, 3, 3), torch.zeros(3, 2))
    coarse = seen(pose, torch.ones(3, 32, 17), fourier.transform(images, 2)).coarse(GRID)
    expected = fourier.crop_images(images, 16)
    assert torch.allclose(fourier.inverse_transform(coarse.coefficients, 2), expected, atol=1e-5)
    assert coarse.ctf.shape == (3, 16, 9)


def test_a_bend_is_not_a_motion() -> None:
    """A path that bends, and bends by more than a second motion moves: the second coordinate is the motion."""
    angle, other = torch.randn(2, 2000, generator=seeded(3))
    bend = (angle.square() - 1.0) / math.sqrt(2.0)
    noise = 0.3 * torch.randn(2000, 3, generator=seeded(4))
    latents = torch.stack([angle, bend, other], dim=1) + noise
    variance = torch.tensor([9.0, 3.0, 2.0])
    two = straight_coordinates(latents, variance, 2)
    assert r2(two[:, :1], angle[:, None])[0] > 0.85
    assert r2(two[:, 1:], other[:, None])[0] > 0.85
    assert torch.allclose(two.var(dim=0), torch.ones(2), atol=1e-2)


def test_where_nothing_bends_the_strongest_are_kept() -> None:
    latents = torch.randn(2000, 3, generator=seeded(5))
    two = straight_coordinates(latents, torch.tensor([9.0, 4.0, 1.0]), 2)
    assert min(r2(two, latents[:, :2])) > 0.98
