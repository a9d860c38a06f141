"""Laws of CryoBench's measures: perfect and empty answers, and the conventions that its numbers depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynaflex.validate.cryobench import fsc_area, neighbourhood_similarity

RANDOM = np.random.default_rng(0)
MAP = torch.from_numpy(RANDOM.normal(size=(16, 16, 16)))


def test_the_truth_has_its_own_neighbours_however_it_is_turned_and_scaled() -> None:
    truth = RANDOM.normal(size=(300, 2))
    turned = 3.0 * truth @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + 5.0
    assert np.allclose(neighbourhood_similarity(turned, truth), 1.0 + 1.0 / np.array([3, 15, 30, 60]))


def test_latents_that_know_nothing_share_what_chance_gives() -> None:
    truth, noise = RANDOM.normal(size=(1500, 1)), RANDOM.normal(size=(1500, 3))
    radii = np.array([0.05, 0.2, 0.5])
    assert np.allclose(neighbourhood_similarity(noise, truth, radii), radii + 1.0 / (1500 * radii), atol=0.02)


def test_what_a_particle_itself_counts_for_does_not_depend_on_how_many_are_compared() -> None:
    truth = RANDOM.normal(size=(6000, 1))
    assert neighbourhood_similarity(truth, truth, (0.01,))[0] == pytest.approx(1.0 + 1.0 / 60)


def test_latents_that_know_one_of_two_coordinates_share_some() -> None:
    truth = RANDOM.uniform(size=(1000, 2))
    both, one, none = (neighbourhood_similarity(known, truth, (0.1,))[0] for known in
                       (truth, truth[:, :1], RANDOM.uniform(size=(1000, 1))))  # fmt: skip
    assert none + 0.1 < one < both - 0.3


def test_a_perfect_map_has_the_published_area() -> None:
    assert fsc_area(MAP, MAP) == pytest.approx(0.5 - 1 / 16)
    # ecosystem: 0.4922 at a box of 128.
    assert pytest.approx(0.4922, abs=5e-5) == 0.5 - 1 / 128


def test_scale_does_not_matter_and_sign_is_lost() -> None:
    assert fsc_area(3.0 * MAP, MAP) == pytest.approx(fsc_area(MAP, MAP))
    assert fsc_area(-MAP, MAP) == pytest.approx(fsc_area(MAP, MAP))


def test_a_map_that_lacks_high_frequencies_loses_their_share() -> None:
    radius = torch.sqrt(sum(torch.meshgrid(*[torch.fft.fftfreq(16, 1 / 16).square()] * 3, indexing="ij")))
    low = torch.fft.ifftn(torch.fft.fftn(MAP) * (radius < 4.0)).real
    # Shells 0 to 4 hold radii below 4 and are perfect, the others are empty: a ramp down between shells 4 and 5. What
    # rounding leaves in empty shells differs from one FFT library to the next.
    assert fsc_area(low, MAP) == pytest.approx((4 + 0.5) / 16, abs=1e-5)


def test_what_lies_outside_the_mask_does_not_count() -> None:
    mask = torch.zeros(16, 16, 16, dtype=torch.float64)
    mask[4:12, 4:12, 4:12] = 1.0
    spoiled = MAP + (1.0 - mask) * torch.from_numpy(RANDOM.normal(size=(16, 16, 16)))
    assert fsc_area(spoiled, MAP) < 0.4
    assert fsc_area(spoiled, MAP, mask) == pytest.approx(0.5 - 1 / 16)
