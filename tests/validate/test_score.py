"""Laws of the scores: perfect answers, empty answers, and the choices that must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dynaflex.grid import Grid
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.score import (
    best_matching_state,
    gap_closed,
    knn_r2,
    linear_r,
    masked_correlation,
    mean_fsc,
    motion_slope,
    rms_displacement,
    rotation_slope,
    variance_explained,
)

RANDOM = np.random.default_rng(0)
AXIS = np.array([0.6, 0.0, 0.8])
ANGLE = RANDOM.uniform(-0.4, 0.4, 60)
POINTS = RANDOM.normal(0.0, 15.0, (40, 3)) + np.array([40.0, 0.0, 10.0])
TURNED = np.stack([Rotation.from_rotvec(AXIS * angle).apply(POINTS) for angle in ANGLE])
TRUE = TURNED - POINTS


def test_latents_that_are_the_coordinate_predict_it() -> None:
    coordinate = RANDOM.uniform(-1.0, 1.0, (800, 2))
    assert (knn_r2(coordinate, coordinate) > 0.97).all()
    assert linear_r(coordinate, coordinate) == pytest.approx([1.0, 1.0])


def test_a_rotated_shifted_and_scaled_latent_space_is_as_good() -> None:
    coordinate = RANDOM.uniform(-1.0, 1.0, (800, 2))
    turned = 3.0 * coordinate @ np.array([[0.8, -0.6], [0.6, 0.8]]) + 5.0
    assert knn_r2(turned, coordinate) == pytest.approx(knn_r2(coordinate, coordinate))
    assert linear_r(turned, coordinate) == pytest.approx([1.0, 1.0])


def test_latents_that_know_nothing_score_nothing() -> None:
    coordinate = RANDOM.uniform(-1.0, 1.0, (2000, 1))
    latents = RANDOM.normal(size=(2000, 6))
    assert abs(knn_r2(latents, coordinate)[0]) < 0.15
    assert abs(linear_r(latents, coordinate)[0]) < 0.15


def test_each_coordinate_has_its_own_score() -> None:
    coordinate = RANDOM.uniform(-1.0, 1.0, (1000, 2))
    found, missed = knn_r2(coordinate[:, :1], coordinate)
    assert found > 0.97 and missed < 0.1
    found, missed = linear_r(coordinate[:, :1], coordinate)
    assert found == pytest.approx(1.0) and missed < 0.15


def test_neighbours_see_a_bent_latent_space_that_a_line_does_not() -> None:
    coordinate = RANDOM.uniform(-1.0, 1.0, (1500, 1))
    ring = np.concatenate([np.cos(3.0 * coordinate), np.sin(3.0 * coordinate)], axis=1)
    assert knn_r2(ring, coordinate)[0] > 0.97
    assert linear_r(ring, coordinate)[0] < 0.9


def test_noise_in_the_latents_costs_what_theory_says() -> None:
    coordinate = RANDOM.normal(size=(20_000, 1))
    latents = coordinate + 0.5 * RANDOM.normal(size=(20_000, 1))
    assert linear_r(latents, coordinate)[0] == pytest.approx(1.0 / math.sqrt(1.25), abs=0.01)
    assert knn_r2(latents, coordinate, neighbours=300)[0] == pytest.approx(1.0 / 1.25, abs=0.015)


def test_the_truth_explains_all_variance_and_rest_none() -> None:
    assert variance_explained(TRUE, TRUE) == pytest.approx(1.0)
    assert variance_explained(np.zeros_like(TRUE), TRUE) == pytest.approx(0.0)
    assert variance_explained(-TRUE, TRUE) == pytest.approx(-3.0)
    assert variance_explained(0.9 * TRUE, TRUE) == pytest.approx(0.99)


def test_a_motion_that_goes_half_as_far_has_slope_one_half_whatever_else_moves() -> None:
    elsewhere = RANDOM.normal(0.0, 5.0, TRUE.shape)
    true = TRUE - TRUE.mean(axis=0)
    elsewhere -= elsewhere.mean(axis=0)
    elsewhere -= (elsewhere * true).sum() / np.square(true).sum() * true
    assert motion_slope(0.5 * TRUE + elsewhere + 30.0, TRUE) == pytest.approx(0.5)


def test_the_consensus_conformation_does_not_matter() -> None:
    offset = RANDOM.normal(0.0, 30.0, (1, 40, 3))
    assert variance_explained(TRUE + offset, TRUE) == pytest.approx(1.0)
    assert rms_displacement(TRUE + offset) == pytest.approx(rms_displacement(TRUE))


def test_rms_displacement_of_a_known_swing() -> None:
    swing = np.zeros((2, 5, 3))
    swing[0, :, 0], swing[1, :, 0] = -3.0, 3.0
    assert rms_displacement(swing) == pytest.approx(3.0)


def test_a_rotation_has_slope_one_and_a_translation_none() -> None:
    assert rotation_slope(POINTS, TRUE, AXIS, ANGLE) == pytest.approx(1.0)
    translation = np.broadcast_to(TRUE.mean(axis=1, keepdims=True), TRUE.shape)
    assert rotation_slope(POINTS, translation, AXIS, ANGLE) == pytest.approx(0.0, abs=1e-9)
    assert variance_explained(translation, TRUE) > 0.5


def test_half_the_rotation_has_half_the_slope_wherever_its_axis_lies() -> None:
    half = np.stack([Rotation.from_rotvec(0.5 * AXIS * angle).apply(POINTS - 20.0) + 20.0 for angle in ANGLE]) - POINTS
    assert rotation_slope(POINTS, half, AXIS, ANGLE) == pytest.approx(0.5)
    assert rotation_slope(POINTS, half + np.array([7.0, 1.0, -2.0]), AXIS, ANGLE + 0.1) == pytest.approx(0.5)


def blob(state: Array, grid: Grid) -> Tensor:
    center = torch.tensor([30.0 * math.cos(state[0]), 30.0 * math.sin(state[0]), 0.0])
    volume = torch.exp(-(grid.points() - center).square().sum(dim=1) / (2.0 * 36.0))
    return volume.view(grid.box, grid.box, grid.box)


def test_the_best_state_is_the_one_the_map_was_made_in() -> None:
    grid = Grid(32, 4.0)
    mask = torch.ones(32, 32, 32)
    for angle in (-0.38, 0.0, 0.217):
        volume = 7.0 * blob(np.array([angle]), grid) - 2.0
        found = best_matching_state(volume, lambda state: blob(state, grid), [(-0.44, 0.44)], mask, rounds=6)
        assert found[0] == pytest.approx(angle, abs=0.004)


def test_the_best_state_stays_within_its_limits() -> None:
    grid = Grid(32, 4.0)
    volume = blob(np.array([0.8]), grid)
    found = best_matching_state(volume, lambda state: blob(state, grid), [(-0.44, 0.44)], torch.ones(32, 32, 32))
    assert found[0] == pytest.approx(0.44)


def test_correlation_ignores_grey_scale_and_what_lies_outside_the_mask() -> None:
    generator = torch.Generator().manual_seed(1)
    volume = torch.randn(16, 16, 16, generator=generator)
    mask = (torch.rand(16, 16, 16, generator=generator) > 0.5).float()
    changed = torch.where(mask > 0, 3.0 * volume + 1.0, torch.randn(16, 16, 16, generator=generator))
    assert masked_correlation(changed, volume, mask) == pytest.approx(1.0)
    assert masked_correlation(-changed, volume, mask) == pytest.approx(-1.0)


def test_mean_fsc_is_one_for_a_scaled_map_and_about_zero_for_noise() -> None:
    generator = torch.Generator().manual_seed(2)
    volume, other = torch.randn(2, 24, 24, 24, generator=generator)
    assert mean_fsc(5.0 * volume, volume) == pytest.approx(1.0)
    assert abs(mean_fsc(other, volume)) < 0.15
    outside = volume.clone()
    outside[:12] += 100.0
    mask = torch.zeros(24, 24, 24)
    mask[12:] = 1.0
    assert mean_fsc(outside, volume, mask) == pytest.approx(1.0)


def test_the_gap_is_measured_from_rigid_to_ideal() -> None:
    assert gap_closed(0.6, 0.6, 0.9) == 0.0
    assert gap_closed(0.6, 0.9, 0.9) == pytest.approx(1.0)
    assert gap_closed(0.6, 0.75, 0.9) == pytest.approx(0.5)
    assert gap_closed(0.6, 0.5, 0.9) < 0.0
    assert math.isnan(gap_closed(0.7, 0.8, 0.7))
