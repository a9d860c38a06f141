"""Laws of a training by several ranks: it is the training of one, but for rounding, and the same on all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ranks.tasks import learned, left_alone, stepped, together

OF_PARTS = ("rms_displacement", "latent_spread")
"""Roots, whose mean over the parts of a batch depends on how it is parted."""
CLOCK = ("seconds", "memory_mb")


def numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name not in (*OF_PARTS, *CLOCK, "phase", "tried")}


@pytest.mark.parametrize(("method", "gain"), [("dynamight", 2e-5), ("flex", 1e-6)])
def test_two_ranks_have_the_losses_of_one(
    prepared: Callable[[str], Path], tmp_path: Path, method: str, gain: float
) -> None:
    """A gain is a small difference of large numbers."""
    run = prepared(method)
    (alone,) = together(1, learned, tmp_path, run, 2)
    first, second = together(2, learned, tmp_path, run, 2)
    for one, two, other in zip(alone, first, second, strict=True):
        assert numbers(two) == numbers(other)
        for name, value in numbers(one).items():
            near = pytest.approx(value, rel=1e-6, abs=gain if "gain" in name else 1e-12)
            assert two[name] == near, (one["epoch"], name)


def test_an_update_is_that_of_one_rank_whatever_its_particles_are(
    prepared: Callable[[str], Path], tmp_path: Path
) -> None:
    """Spoiled particles are found by all, and a last batch may have fewer particles than there are ranks."""
    run = prepared("dynamight")
    (alone,) = together(1, stepped, tmp_path, run)
    for said in together(3, stepped, tmp_path, run):
        assert said["quarantine"] == alone["quarantine"] and len(said["quarantine"]) == 2
        assert said["skipped"] == alone["skipped"] == 1
        for name in ("weight", "table", "factor", "latents"):
            assert said[name] == pytest.approx(alone[name], rel=1e-9, abs=1e-12), name
        assert said["figures"] == pytest.approx(alone["figures"], rel=1e-12)


def test_a_rank_that_leaves_is_missed_at_once(tmp_path: Path) -> None:
    assert together(2, left_alone, tmp_path) == ["rank.gone", None]
