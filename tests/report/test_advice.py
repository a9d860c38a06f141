"""Laws of the advice: it comes when something is wrong, for the half in which it is, and not otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dynaflex.report.facts.advice import advice
from dynaflex.report.facts.supported import support_sentence
from dynaflex.shapes import Array
from dynaflex.training.installed import method_named

DYNAMIGHT, FLEX = (method_named(name).wording for name in ("dynamight", "flex"))


def table(first: Array, second: Array) -> dict[str, Any]:
    """``latents.npz`` of two halves."""
    half = np.repeat([1, 2], [len(first), len(second)])
    return {"mean": np.concatenate([first, second]), "half": half}


def spread(scale: float, seed: int = 0) -> Array:
    return scale * np.random.default_rng(seed).standard_normal((300, 2))


def test_a_sound_run_gets_none() -> None:
    assert advice(FLEX, {"latent_dim": 2, "prior": "wall"}, table(spread(0.4), spread(0.4, 1)), None) == []
    assert advice(FLEX, {}, None, None) == []


# Row N-04 of the list of faults.
@pytest.mark.parametrize(("words", "option"), [(FLEX, "--rigidity"), (DYNAMIGHT, "--regularisation")])
def test_collapsed_latents_are_found_wherever_they_lie(words: Any, option: str) -> None:
    said = advice(words, {}, table(spread(1.0), spread(0.05) + 3.0), None)
    assert len(said) == 1 and "half 2 have collapsed" in said[0] and option in said[0]


def test_one_coordinate_that_carries_the_motion_is_enough() -> None:
    line = spread(1.0) * np.array([1.0, 0.001])
    assert advice(FLEX, {}, table(line, line), None) == []


# Row N-05 of the list of faults.
def test_latents_at_the_wall_matter_where_there_is_one() -> None:
    inside = np.random.default_rng(2).uniform(-1.3, 1.3, (300, 2))
    outside = inside.copy()
    outside[:30, 1] = -1.45
    few = inside.copy()
    few[:12, 0] = 1.45
    said = advice(FLEX, {"prior": "wall"}, table(outside, few), None)
    assert len(said) == 1 and said[0].startswith("10% of the latents of half 1")
    assert advice(FLEX, {"prior": "gaussian"}, table(outside, few), None) == []


def halves(*gains: tuple[float, float], whole: float = -1.0) -> dict[str, Any]:
    """``support.json`` with the gains of halves, of permuted latents and of the ``whole``, all ± 0.5 nats."""
    return {
        "held_out": 200,
        **{
            f"half{half}": {
                "gain": gain, "error": 0.5, "over_others": gain - permuted, "over_others_error": 0.5,
                "over_whole": gain - whole, "over_whole_error": 0.5,
            }
            for half, (gain, permuted) in enumerate(gains, 1)
        },
    }  # fmt: skip


def test_a_motion_that_explains_what_was_not_used_is_supported() -> None:
    record = halves((5.0, -4.0), (6.0, -3.0))
    assert advice(FLEX, {}, None, record) == []
    said = support_sentence(record)
    assert said is not None and "+5.0 ± 0.5 and +6.0 ± 0.5" in said and "−4.0 and −3.0" in said


@pytest.mark.parametrize(
    "half", [(1.0, -5.0), (-4.0, -6.0), (5.0, 4.5)], ids=["too little", "worse than rigid", "of anybody as well"]
)
def test_a_motion_must_gain_for_sure_and_more_than_that_of_another_particle(half: tuple[float, float]) -> None:
    said = advice(FLEX, {}, None, halves(half, half))
    assert len(said) == 1 and "is not supported" in said[0]
    said = advice(FLEX, {}, None, halves((5.0, -4.0), half))
    assert len(said) == 1 and "disagree" in said[0] and "not that of half 2" in said[0]


def test_motion_of_the_whole_is_no_motion_but_poses_that_err() -> None:
    record = halves((5.0, -4.0), (6.0, -3.0), whole=4.9)
    (said,) = advice(FLEX, {}, None, record)
    assert "the whole molecule" in said and "Refine the poses" in said
    sentence = support_sentence(record)
    assert sentence is not None and "do not support" in sentence and "+4.9 and +4.9" in sentence
    (said,) = advice(FLEX, {}, None, halves((5.0, -4.0), (1.0, -3.0), whole=4.9))
    assert "is not supported" in said


def test_nobody_knows_where_too_few_were_held_out_and_nothing_is_said_of_what_was_not_measured() -> None:
    said = advice(FLEX, {}, None, {"held_out": 7})
    assert len(said) == 1 and "7" in said[0] and support_sentence({"held_out": 7}) is None
    assert advice(FLEX, {}, None, None) == [] and support_sentence(None) is None
