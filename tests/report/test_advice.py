"""Laws of the advice: it comes when something is wrong, for the half in which it is, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dynaflex.report.facts.advice import advice, gain_sentence
from dynaflex.shapes import Array
from dynaflex.training.installed import method_named

Epochs = Callable[..., Any]
DYNAMIGHT, FLEX = (method_named(name).wording for name in ("dynamight", "flex"))


def table(first: Array, second: Array) -> dict[str, Any]:
    """``latents.npz`` of two halves."""
    half = np.repeat([1, 2], [len(first), len(second)])
    return {"mean": np.concatenate([first, second]), "half": half}


def spread(scale: float, seed: int = 0) -> Array:
    return scale * np.random.default_rng(seed).standard_normal((300, 2))


def test_a_sound_run_gets_none(epochs_of_flex: Epochs) -> None:
    lines = [*epochs_of_flex(1), *epochs_of_flex(2)]
    assert advice(FLEX, {"latent_dim": 2, "prior": "wall"}, table(spread(0.4), spread(0.4, 1)), lines) == []
    assert advice(FLEX, {}, None, []) == []


# Row N-04 of the list of faults.
@pytest.mark.parametrize(("words", "option"), [(FLEX, "--rigidity"), (DYNAMIGHT, "--regularisation")])
def test_collapsed_latents_are_found_wherever_they_lie(words: Any, option: str) -> None:
    said = advice(words, {}, table(spread(1.0), spread(0.05) + 3.0), [])
    assert len(said) == 1 and "half 2 have collapsed" in said[0] and option in said[0]


def test_one_coordinate_that_carries_the_motion_is_enough() -> None:
    line = spread(1.0) * np.array([1.0, 0.001])
    assert advice(FLEX, {}, table(line, line), []) == []


# Row N-05 of the list of faults.
def test_latents_at_the_wall_matter_where_there_is_one() -> None:
    inside = np.random.default_rng(2).uniform(-1.3, 1.3, (300, 2))
    outside = inside.copy()
    outside[:30, 1] = -1.45
    few = inside.copy()
    few[:12, 0] = 1.45
    said = advice(FLEX, {"prior": "wall"}, table(outside, few), [])
    assert len(said) == 1 and said[0].startswith("10% of the latents of half 1")
    assert advice(FLEX, {"prior": "gaussian"}, table(outside, few), []) == []


@pytest.mark.parametrize(("dimension", "supported"), [(2, True), (3, True), (4, False), (6, False)])
def test_motion_must_gain_more_than_its_coordinates_do_by_chance(
    dimension: int, supported: bool, epochs_of_flex: Epochs
) -> None:
    lines = list(epochs_of_flex(1, gain=2.0))
    said = advice(FLEX, {"latent_dim": dimension}, None, lines)
    assert (said == []) == supported
    assert all("half 1 is not supported" in sentence for sentence in said)


def test_a_model_worse_than_the_rigid_one_is_not_supported(epochs_of_flex: Epochs) -> None:
    said = advice(FLEX, {"latent_dim": 1}, None, list(epochs_of_flex(0, gain=-4.0)))
    assert len(said) == 1 and "all particles" in said[0] and "-4.0 nats" in said[0]


def test_the_gain_is_that_of_the_last_epoch_that_has_one(epochs_of_flex: Epochs) -> None:
    lines = list(epochs_of_flex(1, gain=32.0))[:14]  # the last of them is an epoch of the map
    assert lines[-1]["phase"] == "map"
    said = gain_sentence(lines)
    assert said is not None and "26.0 nats" in said  # of epoch 13 of 16
    assert gain_sentence([{"half": 1, "held_out_loss": 3.0}]) is None
