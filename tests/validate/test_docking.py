"""Laws of docking: a known motion is found back as surely as is said, and noise is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.docking import Docking, dock
from dynaflex.validate.fsc import fsc_curves

GRID = Grid(48, 3.0)
SIGMA = 3.0
TURN, SHIFT = np.radians(2.0) * np.array([0.6, 0.0, 0.8]), np.array([0.0, 0.6, -0.8])


def atoms() -> tuple[Array, Array]:
    """Those of a body that stays, and of a part ``(n 3)`` each."""
    random = np.random.default_rng(0)
    ball = random.normal(size=(400, 3))
    ball *= (random.uniform(size=400) ** (1 / 3) / np.linalg.norm(ball, axis=1))[:, None]
    return 20.0 * ball[:200] - [38.0, 0.0, 0.0], 24.0 * ball[200:] + [20.0, 0.0, 0.0]


def volume_of(points: Array) -> Tensor:
    places = GRID.points().double().numpy()
    found = np.zeros(len(places))
    for point in points:
        found += np.exp(-0.5 * np.square(places - point).sum(axis=1) / SIGMA**2)
    return torch.from_numpy(found).view((GRID.box,) * 3)


def mask_of(points: Array, reach: float = 8.0, edge: float = 6.0) -> Tensor:
    distance = cKDTree(points).query(GRID.points().double().numpy())[0]
    return torch.from_numpy(np.clip((reach + edge - distance) / edge, 0.0, 1.0)).view((GRID.box,) * 3)


def moved(points: Array, turn: Array = TURN, shift: Array = SHIFT) -> Array:
    """About the centre of the mask of the part."""
    centre = points.mean(axis=0)
    return (points - centre) @ Rotation.from_rotvec(turn).as_matrix().T + centre + shift


def noise(seed: int) -> Tensor:
    """Of a reconstruction: stronger at high frequencies, as CTF and envelope leave it."""
    white = torch.randn((GRID.box,) * 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rising = (0.2 + torch.arange(GRID.n_shells) / GRID.n_shells).double()
    return fourier.inverse_transform(fourier.transform(white, 3) * fourier.spread_shells(rising, GRID, 3), 3)


@pytest.fixture(scope="module")
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """The density whose part has moved, the density, and the mask of its part."""
    body, part = atoms()
    still = volume_of(body)
    return still + volume_of(moved(part)), still + volume_of(part), mask_of(part)


def docked(first: Tensor, second: Tensor, mask: Tensor) -> Docking | None:
    return dock(first, second, GRID.pixel_size, mask, fsc_curves(first, second, GRID.pixel_size, mask))


def errors(found: Docking) -> tuple[float, float]:
    """In degrees and Å, of the turn and of the shift of the centre."""
    wrong = Rotation.from_matrix(found.rotation @ Rotation.from_rotvec(TURN).as_matrix().T).magnitude()
    centre = atoms()[1].mean(axis=0)
    true = Rotation.from_rotvec(TURN).as_matrix() @ (found.centre - centre) + centre + SHIFT - found.centre
    return float(np.degrees(wrong)), float(np.linalg.norm(found.translation - true))


def test_a_known_turn_is_found_in_noisy_maps(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, mask = scene
    found = docked(first + 0.05 * noise(1), second + 0.05 * noise(2), mask)
    assert found is not None and found.after > found.before
    turn, shift = errors(found)
    assert turn < 0.1 and shift < 0.05, (turn, shift, found)
    assert found.angle == pytest.approx(2.0, abs=0.1) and found.shift == pytest.approx(1.0, abs=0.1)


def test_docked_maps_agree_as_maps_that_never_moved(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, mask = scene
    one, other = first + 0.25 * noise(1), second + 0.25 * noise(2)
    found = docked(one, other, mask)
    assert found is not None
    before = fsc_curves(one, other, GRID.pixel_size, mask).resolution(0.5)
    after = fsc_curves(found.carried(one, GRID, mask), other, GRID.pixel_size, mask).resolution(0.5)
    still = fsc_curves(second + 0.25 * noise(1), other, GRID.pixel_size, mask).resolution(0.5)
    assert before is not None and after is not None and still is not None
    assert after < before and after == pytest.approx(still, rel=0.03)


@pytest.mark.parametrize("level", [0.25, 0.6])
def test_errors_are_as_large_as_they_are_said_to_be(scene: tuple[Tensor, Tensor, Tensor], level: float) -> None:
    first, second, mask = scene
    pulls = []
    for seed in range(6):
        found = docked(first + level * noise(2 * seed), second + level * noise(2 * seed + 1), mask)
        assert found is not None
        turn, shift = errors(found)
        pulls.append((turn / found.angle_error, shift / found.shift_error))
    rms = np.sqrt(np.square(pulls).mean(axis=0))
    assert (rms > 0.5).all() and (rms < 1.6).all(), rms


def test_what_rests_alike_is_not_said_to_be_apart(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    _, second, mask = scene
    found = docked(second + 0.6 * noise(1), second + 0.6 * noise(2), mask)
    assert found is not None
    assert found.angle < 3.0 * found.angle_error and found.shift < 3.0 * found.shift_error
    assert found.angle_error < 1.0


def test_of_noise_alone_nothing_is_said(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    for seed in range(4):
        found = docked(noise(2 * seed), noise(2 * seed + 1), scene[2])
        assert found is None or found.angle < 3.0 * found.angle_error
