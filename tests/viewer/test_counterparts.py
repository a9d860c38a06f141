"""The same region in both halves: as large a share of the one as of the other, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import UsageError
from dynaflex.viewer.answers.counterparts import with_counterparts
from dynaflex.viewer.answers.stage import Stage
from dynaflex.viewer.opened import OpenedRun


@pytest.fixture(scope="module")
def stage(finished_run: Path) -> Stage:
    return OpenedRun(finished_run).stage()


@pytest.mark.parametrize("half", [1, 2])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 1.0])
def test_a_region_of_one_half_is_the_same_region_of_the_other(stage: Stage, half: int, share: float) -> None:
    assert stage.motion is not None and stage.motion.awaited() == 1.0
    along, halves = stage.motion.values[:, 0], stage.particles.half
    limit = np.quantile(along, share)
    chosen = (halves == half) & (along <= limit)
    found = with_counterparts(stage, chosen)
    np.testing.assert_array_equal(found[halves == half], chosen[halves == half])
    other = halves != half
    # Only at the region's edge can the nearest neighbour lie on its other side.
    wrong = found[other] != (along <= limit)[other]
    assert wrong.mean() < 0.06
    assert found[other].mean() == pytest.approx(share, abs=0.1)


def test_what_is_not_of_one_half_has_no_counterpart(stage: Stage) -> None:
    halves = stage.particles.half
    for chosen in (np.zeros(len(halves), bool), np.ones(len(halves), bool)):
        with pytest.raises(UsageError, match=r"view\.counterparts"):
            with_counterparts(stage, chosen)


def test_without_a_model_there_is_none(hollow: Path) -> None:
    stage = OpenedRun(hollow).stage()
    with pytest.raises(UsageError, match=r"view\.motion-unknown"):
        with_counterparts(stage, stage.particles.half == 1)
