"""Laws of DynaMight's schedule: whatever the number of particles, every part of it comes to pass."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest

from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.methods.dynamight.schedule import Schedule


def planned(particles: int) -> Schedule:
    """That of a half of so many particles, with all settings as they are by default."""
    config = DynamightConfig()
    return Schedule(config, config.planned_epochs(-(-particles // 2 // config.batch_size)))


def replacements(schedule: Schedule) -> list[int]:
    """After how many epochs the reference is replaced."""
    found, joint = [], 0
    for epoch in range(schedule.epochs):
        if schedule.phase(epoch) == "joint":
            joint += 1
            if schedule.replaces(joint, epoch + 1):
                found.append(epoch + 1)
    return found


@pytest.mark.parametrize("particles", [2_000, 5_000, 12_000, 100_000, 1_000_000])
def test_everything_happens_with_any_number_of_particles_and_takes_its_share(particles: int) -> None:
    schedule = planned(particles)
    epochs = [schedule.phase(epoch) for epoch in range(schedule.epochs)]
    share = {phase: count / len(epochs) for phase, count in Counter(epochs).items()}
    assert 0.02 < share["warm-up"] < 0.08 and 0.05 < share["gaussians"] < 0.15 and share["joint"] > 0.8
    assert epochs[-1] == "joint"
    times = [time / schedule.epochs for time in replacements(schedule)]
    assert 7 <= len(times) <= 9 and times[0] < 0.2 and times[-1] < 1.0
    assert 0 < schedule.patience <= 0.4 * epochs.count("joint") + 5


def test_a_long_training_counts_as_the_paper_does() -> None:
    schedule = Schedule(DynamightConfig(), 300)
    parts = [(phase, len(list(run))) for phase, run in groupby(map(schedule.phase, range(75)))]
    assert parts == [("warm-up", 3), ("joint", 30), ("gaussians", 5), ("joint", 30), ("gaussians", 5), ("joint", 2)]
    assert replacements(schedule)[:3] == [13, 23, 33] and schedule.patience == 40


def test_a_few_rises_end_no_training_unless_so_few_are_asked_for() -> None:
    assert Schedule(DynamightConfig(), 5).patience == 5
    assert Schedule(DynamightConfig(patience=2), 5).patience == 2


def test_what_is_switched_off_does_not_come_back() -> None:
    schedule = Schedule(DynamightConfig(warm_up_epochs=0, refresh_epochs=0), 30)
    assert {schedule.phase(epoch) for epoch in range(30)} == {"joint"}
