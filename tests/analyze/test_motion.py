"""Laws of rigid motion: a known one is recovered exactly, in every frame, and bodies are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dynaflex.analyze.domains import camera_across, moving_part, relative_to, rigid_domains, rigid_motion

RANDOM = np.random.default_rng(2)
POINTS = RANDOM.normal(0.0, 20.0, (120, 3)) + np.array([30.0, -10.0, 5.0])


def turned(points: np.ndarray, axis: np.ndarray, angle: float, through: np.ndarray, slide: float) -> np.ndarray:
    return Rotation.from_rotvec(angle * axis).apply(points - through) + through + slide * axis


@pytest.mark.parametrize("angle", [0.01, 0.7, 2.5, 3.1])
@pytest.mark.parametrize("slide", [0.0, -4.0])
def test_a_known_screw_is_recovered_exactly(angle: float, slide: float) -> None:
    axis = np.array([2.0, -1.0, 0.5]) / np.linalg.norm([2.0, -1.0, 0.5])
    through = np.array([5.0, 8.0, -3.0])
    end = turned(POINTS, axis, angle, through, slide)
    found = rigid_motion(POINTS, end)
    assert found.angle == pytest.approx(angle, abs=1e-9)
    assert np.allclose(found.axis, axis, atol=1e-9)
    assert found.slide == pytest.approx(slide, abs=1e-7)
    # The point given may lie anywhere on the axis.
    offset = found.point - through
    assert np.allclose(offset, (offset @ axis) * axis, atol=1e-5)
    assert (found.point - POINTS.mean(axis=0)) @ axis == pytest.approx(0.0, abs=1e-6)
    assert np.allclose(found.translation, end.mean(axis=0) - POINTS.mean(axis=0))
    assert found.residual == pytest.approx(0.0, abs=1e-9)
    assert found.rmsd == pytest.approx(np.sqrt(np.square(end - POINTS).sum(axis=1).mean()))


def test_a_shift_has_no_axis() -> None:
    found = rigid_motion(POINTS, POINTS + np.array([1.0, 2.0, 2.0]))
    assert found.angle < 1e-6 and np.isnan(found.axis).all() and np.isnan(found.point).all() and np.isnan(found.slide)
    assert np.allclose(found.translation, [1.0, 2.0, 2.0]) and found.rmsd == pytest.approx(3.0)


def test_a_mirror_is_not_taken_for_a_rotation() -> None:
    found = rigid_motion(POINTS, POINTS * [-1.0, 1.0, 1.0])
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    assert found.residual > 5.0


def test_noise_is_left_over_and_not_fitted() -> None:
    many = RANDOM.normal(0.0, 20.0, (4000, 3))
    found = rigid_motion(many, many + RANDOM.normal(0.0, 0.5, many.shape))
    assert found.residual == pytest.approx(0.5 * np.sqrt(3.0), rel=0.05)


def test_what_a_body_does_is_undone_in_its_own_frame() -> None:
    end = turned(POINTS, np.array([0.0, 0.0, 1.0]), 0.4, np.zeros(3), 3.0)
    assert np.allclose(relative_to(rigid_motion(POINTS, end), end), POINTS)


def bodies() -> tuple[np.ndarray, np.ndarray]:
    """Three balls of 300, 200 and 100 points that touch."""
    sizes, centres = (300, 200, 100), ([0.0, 0.0, 0.0], [26.0, 0.0, 0.0], [0.0, 24.0, 0.0])
    directions = RANDOM.normal(size=(600, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radius = 12.0 * RANDOM.uniform(0.0, 1.0, 600)[:, None] ** (1 / 3)
    body = np.repeat([0, 1, 2], sizes)
    return directions * radius + np.array(centres)[body], body


def test_rigid_bodies_are_told_apart() -> None:
    points, body = bodies()
    frames = []
    for angle in (-0.3, -0.1, 0.2, 0.3):
        moved = points.copy()
        moved[body == 1] = turned(points, np.array([0.0, 0.0, 1.0]), angle, np.array([13.0, 0.0, 0.0]), 0.0)[body == 1]
        other = turned(points, np.array([1.0, 0.0, 0.0]), 0.4 - 5.0 * angle**2, np.array([0, 12.0, 0]), 0.0)
        moved[body == 2] = other[body == 2]
        frames.append(moved)
    found = rigid_domains(points, np.array(frames))
    assert found.max() == 2
    assert (found == body).mean() > 0.97


def test_a_molecule_that_moves_as_one_is_one_body() -> None:
    points, _ = bodies()
    moved = turned(points, np.array([0.0, 1.0, 0.0]), 0.2, np.array([3.0, 0.0, 0.0]), 2.0)
    assert rigid_domains(points, moved[None]).max() == 0


def test_a_molecule_that_does_not_move_is_one_body() -> None:
    points, _ = bodies()
    assert rigid_domains(points, np.stack([points, points])).max() == 0


def test_the_part_that_moves_is_relative_to_what_moves_most_and_a_few_outliers_do_not_set_it() -> None:
    moves = np.concatenate([np.full(70, 0.4), np.full(10, 3.9), np.full(20, 8.0)])
    assert np.array_equal(moving_part(moves), moves == 8.0)
    assert np.array_equal(moving_part(moves * 100), moves == 8.0)
    moves[0] = 1000.0
    assert np.array_equal(moving_part(moves), moves >= 8.0)
    assert not moving_part(np.full(50, 0.99)).any() and moving_part(np.full(50, 1.01)).all()
    assert not moving_part(np.array([np.nan, 3.0, 3.0]))[0]


def test_the_camera_is_a_rotation_that_looks_across_the_motion() -> None:
    rest = RANDOM.normal(scale=(30.0, 10.0, 10.0), size=(200, 3))
    swing = np.linspace(-1, 1, 5)[:, None, None] * np.array([0.0, 6.0, 0.0]) + 0.01 * RANDOM.normal(size=(5, 200, 3))
    camera = camera_across(rest + swing)
    np.testing.assert_allclose(camera @ camera.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(camera) == pytest.approx(1.0)
    seen = camera @ np.array([0.0, 1.0, 0.0])
    assert np.hypot(seen[0], seen[1]) > 0.99
    assert abs(camera[1, 0]) > 0.9  # the molecule is long in x, which is up


@pytest.mark.parametrize("seed", range(20))
def test_the_camera_keeps_to_one_side(seed: int) -> None:
    random = np.random.default_rng(seed)
    rest = random.normal(scale=(30.0, 20.0, 10.0), size=(60, 3)) @ Rotation.random(random_state=seed).as_matrix()
    moved = rest + np.linspace(-1, 1, 5)[:, None, None] * random.normal(scale=4.0, size=(60, 3))
    camera = camera_across(moved)
    assert camera[2, 2] >= 0.0 and camera[1, 1] >= 0.0
    # Which end of the motion comes first, and where the molecule lies, do not turn it round.
    np.testing.assert_allclose(camera_across(moved[::-1] + 7.0), camera, atol=1e-9)
