"""Laws of the controls: they pass what is there, fail what is not, and do not take chance for a finding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dynaflex.validate.controls import (
    FAIL,
    PASS,
    WARN,
    agreement,
    gain,
    group_leak,
    leak,
    must_exceed_zero,
    must_vanish,
    rest,
)

NOISE = np.random.default_rng(0).normal(size=200)
CENTRED = (NOISE - NOISE.mean()) / NOISE.std(ddof=1) * np.sqrt(200)
"""Mean 0 and a standard error of exactly 1."""


@pytest.fixture
def random() -> np.random.Generator:
    """The same numbers for every test, in whatever process and order."""
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("mean", "exceeds", "vanishes"),
    [(-5.0, FAIL, PASS), (0.0, FAIL, PASS), (0.9, FAIL, PASS), (2.0, WARN, WARN), (2.9, WARN, WARN), (3.1, PASS, FAIL)],
)
def test_standard_errors_decide(mean: float, exceeds: str, vanishes: str) -> None:
    assert must_exceed_zero("a", CENTRED + mean, "", "").verdict == exceeds
    found = must_vanish("a", CENTRED + mean, "", "")
    assert found.verdict == vanishes
    assert (found.value, found.chance) == pytest.approx((mean, 1.0))


def test_a_gain_is_that_of_one_evidence_over_another_particle_by_particle() -> None:
    """However much particles differ: what they share is not in its error."""
    before = 1e3 * torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert gain(before + torch.from_numpy(CENTRED) + 2.0, before) == pytest.approx((2.0, 1.0))
    assert gain(before, before + torch.from_numpy(CENTRED) + 2.0) == pytest.approx((-2.0, 1.0))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_a_model_that_breaks_down_is_surely_worse(broken: float) -> None:
    assert gain(torch.full((1,), broken), torch.zeros(200)) == (-math.inf, 0.0)


def test_a_motion_that_follows_the_nuisance_is_a_leak(random: np.random.Generator) -> None:
    nuisance = random.normal(size=(600, 2))
    follows = np.stack([np.sin(nuisance[:, 0]), np.zeros(600)], axis=1)
    own = random.normal(size=(600, 2))
    assert leak("a", follows, nuisance, "").verdict == FAIL
    assert leak("a", own, nuisance, "").verdict == PASS
    assert leak("a", 0.45 * follows / follows.std() + 0.9 * own, nuisance, "").verdict == WARN


def test_a_leak_does_not_depend_on_units(random: np.random.Generator) -> None:
    nuisance = random.normal(size=(400, 2))
    motion = nuisance[:, :1] + random.normal(size=(400, 1))
    there, here = (
        leak("a", scale * motion, nuisance * [1.0, factor], "").value for scale, factor in ((1, 1), (50, 1e4))
    )
    assert there == pytest.approx(here) and there > 0.3


def test_a_motion_that_follows_the_group_is_a_leak(random: np.random.Generator) -> None:
    group = np.repeat(np.arange(60), 10)
    shared = random.normal(size=(60, 2))[group]
    own = random.normal(size=(600, 2))
    assert group_leak("a", shared + 0.3 * own, group, "").verdict == FAIL
    assert group_leak("a", own, group, "").verdict == PASS


def test_particles_that_are_alone_say_nothing_about_their_group(random: np.random.Generator) -> None:
    found = group_leak("a", random.normal(size=(50, 1)), np.arange(50), "it")
    assert found.verdict == PASS and "not tested" in found.words


def test_two_models_agree_on_what_both_see(random: np.random.Generator) -> None:
    motion = random.normal(size=(80, 1, 1)) * random.normal(size=(1, 30, 3))
    first, second = (motion + 0.3 * random.normal(size=motion.shape) for _ in range(2))
    # Each half calls another conformation the one at rest.
    found = agreement("a", first + 7.0, second - 3.0, "")
    assert found.verdict == PASS and found.value > 0.8 > found.chance
    assert agreement("a", first, random.normal(size=motion.shape), "").verdict == FAIL
    assert agreement("a", first, motion + 4.0 * random.normal(size=motion.shape), "").verdict == WARN
    assert agreement("a", first, -second, "").verdict == FAIL
    assert agreement("a", 0.0 * first, 0.0 * second, "").verdict == FAIL


def test_halves_that_surely_rest_apart_by_much_of_a_period_are_a_warning() -> None:
    assert rest("rest", 0.5, 0.3, 3.0, 8.0, "").verdict == PASS  # noise is enough for it
    assert rest("rest", 2.0, 0.3, 1.0, 8.0, "").verdict == PASS  # a mean is as sharp as they are
    assert rest("rest", 2.0, 0.3, 3.0, 8.0, "").verdict == WARN
    assert rest("rest", 2.0, 0.3, 3.0, 8.0, "").has_error
