"""Laws of how costs grow: what is linear is extrapolated exactly, and more never costs less."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dynaflex import spent
from dynaflex.costs.laws import Line
from dynaflex.planning.training import Trained, TrainingLaw, epochs_to_see
from dynaflex.spent import Spent

FIXED, EACH = np.array([3.0, 2.0]), np.array([0.5, 0.25])
KINDS = {"warm": 2, "map": 8, "flow": 10}


def linear(amount: float, times: float = 1.0) -> np.ndarray:
    return times * (FIXED + EACH * amount)


def a_half(particles: int, **changed: Any) -> Trained:
    """One in which all costs are linear, each kind of epoch by a factor of its own."""
    training = particles * 9 // 10
    made: dict[str, Any] = {
        "particles": particles, "training": training, "images": linear(particles), "first": linear(particles),
        "kinds": {kind: linear(particles, 1.0 + number) for number, kind in enumerate(KINDS)}, "epochs": KINDS,
        "retaken": {},
        "trial": linear(particles), "updates": 4, "updates_in_full": 32, "judged": particles - training, "sittings": 3,
        "tried_in": "flow", "batch_size": 16, "final": linear(particles),
    }  # fmt: skip
    return Trained(**{**made, **changed})


def test_a_linear_cost_is_extrapolated_exactly() -> None:
    line = Line.through((10, linear(10)), (30, linear(30)))
    for amount in (0, 10, 1e6):
        np.testing.assert_allclose(line.at(amount), linear(amount))


def test_a_training_of_linear_epochs_is_extrapolated_exactly() -> None:
    law = TrainingLaw(a_half(100), a_half(300))
    for particles in (300, 5000):
        whole = sum(count * linear(particles, 1.0 + number) for number, count in enumerate(KINDS.values()))
        np.testing.assert_allclose(law.epochs(particles), whole)
        np.testing.assert_allclose(law.final(particles), linear(particles))
    late = (linear(500, 2.0) + linear(500, 3.0)) / 2
    np.testing.assert_allclose(law.later_epoch(500), late)


def test_epochs_that_are_taken_once_more_cost_what_they_cost() -> None:
    law = TrainingLaw(a_half(100), a_half(300, retaken={"map": 3}))
    np.testing.assert_allclose(law.retaken(5000), 3 * linear(5000, 2.0))
    assert not TrainingLaw(a_half(100), a_half(300)).retaken(5000).any()


def test_trials_are_their_updates_and_what_is_done_for_every_particle_that_judges() -> None:
    update, judge, more = 0.5, 0.02, 300
    kinds = {"flow": np.full(2, update * (more * 9 // 10) / 16)}
    trial = np.full(2, 3 * (4 * update + 30 * judge))
    many = a_half(more, kinds=kinds, epochs={"flow": 5}, trial=trial, updates=4, judged=30)
    law = TrainingLaw(many, many)
    np.testing.assert_allclose(law.trials(200), np.full(2, 3 * 3 * (32 * update + 200 * judge)))


@pytest.mark.parametrize("seed", range(20))
def test_twice_the_particles_never_cost_less_however_the_clock_errs(seed: int) -> None:
    draw = np.random.default_rng(seed)

    def noisy(half: Trained) -> Trained:
        shaken = {name: value * draw.uniform(0.3, 3.0, 2) for name, value in half.kinds.items()}
        costs = ("images", "first", "trial", "final")
        return a_half(
            half.particles, kinds=shaken, **{name: getattr(half, name) * draw.uniform(0.3, 3.0, 2) for name in costs}
        )

    law = TrainingLaw(noisy(a_half(100)), noisy(a_half(300)))
    for cost in (law.images, law.first, law.epochs, law.final, law.later_epoch, law.trials):
        for amount in (0, 50, 300, 20_000, 10**6):
            assert (cost(2 * amount) >= cost(amount)).all() and (cost(amount) >= 0.0).all(), cost


def test_every_kind_of_epoch_is_seen_and_a_trial_where_there_is_one() -> None:
    kinds = ["warm"] * 2 + ["flow", "map"] * 5 + ["flow"]
    for trials in (set[int](), {4, 6}):
        seen = epochs_to_see(kinds, trials)
        assert {kinds[epoch] for epoch in seen} == set(kinds) and seen[0] == 0
        assert bool(set(seen) & trials) == bool(trials) and len(seen) <= 1 + len(set(kinds))


def test_a_stage_inside_another_takes_its_time_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(spent.time, "monotonic", lambda: float(next(clock)))
    with spent.counted() as taken, spent.on("training"):  # 0
        with spent.on("stiffness"):  # 1 to 2
            pass
        with spent.on("final latents"):  # 3
            spent.elsewhere([Spent({"training": 0.5}, {"training": 0.5})] * 2)
            # to 4
        # to 5
    assert taken.seconds == {"stiffness": 1.0, "final latents": 0.5, "training": 3.5}
    assert sum(taken.seconds.values()) == 5.0 and taken.cpu_seconds["training"] >= 1.0
