"""Laws of how stiff a molecule is taken to be: held-out images choose, the stiffer of two that are alike, and what was
tried leaves no trace."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from dynaflex.imaging.noise import noise_weights
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.methods.flex import how_many
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.train import FlexTrainer, trials
from dynaflex.report.facts.tried import coordinates_sentence, cuts_sentence, tried_rows
from dynaflex.shapes import Tensor
from dynaflex.training.how_stiff import CHANCE, FACTOR, FIRST, STILL, Tried, at_rest, chosen, freed, sittings, updates

PARTICLES = 200


def around(best: float, sharpness: float, noise: float) -> Callable[[float], Tensor]:
    """Evidence that falls with the distance from the best rigidity, in factors; particles differ by ``noise``."""
    random = torch.Generator().manual_seed(1)
    alike = torch.randn(PARTICLES, generator=random)

    def evidence(rigidity: float) -> Tensor:
        steps = math.log(rigidity / best, FACTOR)
        own = torch.randn(PARTICLES, generator=random)
        return alike - sharpness * steps**2 + noise * (own - own.mean())

    return evidence


@pytest.mark.parametrize("steps", [-3, -1, 0, 1, 3])
def test_every_trial_brings_a_strength_nearer_to_the_best(steps: int) -> None:
    best, rigidity = FIRST * FACTOR**steps, FIRST
    evidence = around(best, sharpness=1.0, noise=0.1)
    for _ in range(4):
        rigidity, tried = chosen(rigidity, FIRST, evidence)
        assert [one.rigidity for one in tried] == sorted((one.rigidity for one in tried), reverse=True)
    assert rigidity == pytest.approx(best)


def test_of_strengths_that_are_alike_the_stiffest_is_taken() -> None:
    taken, _ = chosen(FIRST, FIRST, around(FIRST, sharpness=0.0, noise=1.0))
    assert taken > FIRST


def at_rest_by(gained: float, error: float = 1.0) -> Tried:
    """A map at rest by which a particle is so much likelier, ± ``error``."""
    return Tried(math.inf, gained, error)


@pytest.mark.parametrize(
    ("gained", "error", "stiffer"),
    [
        (2.0, 1.0, True), (-0.04, 0.0, True), (-0.06, 0.0, False), (-0.11, 0.05, True), (-0.12, 0.05, False),
        (-0.19, 1.0, True), (-0.21, 1.0, False), (-6.0, 1.0, False),
    ],
)  # fmt: skip
def test_where_something_moves_a_tie_changes_nothing(gained: float, error: float, stiffer: bool) -> None:
    taken, _ = chosen(FIRST, FIRST, around(FIRST, sharpness=0.0, noise=1.0), at_rest_by(gained, error))
    assert (taken > FIRST) is stiffer


def test_what_turns_out_to_be_at_rest_is_made_stiff_however_soft_it_has_become() -> None:
    softest = around(FIRST / FACTOR**3, sharpness=1.0, noise=0.1)
    taken, tried = chosen(FIRST / FACTOR**2, FIRST, softest, at_rest_by(0.0, 0.0))
    assert taken == FIRST * FACTOR and [one.rigidity for one in tried] == [taken, FIRST / FACTOR**2, FIRST / FACTOR**3]


def test_where_nothing_moves_the_stiffest_is_taken_that_does_not_break_down() -> None:
    softer = around(FIRST / FACTOR, sharpness=1.0, noise=0.1)
    assert chosen(FIRST, FIRST, softer, at_rest_by(0.0))[0] == FIRST * FACTOR
    broken = lambda rigidity: softer(rigidity) + (torch.nan if rigidity > FIRST else 0.0)  # noqa: E731
    assert chosen(FIRST, FIRST, broken, at_rest_by(0.0))[0] == FIRST


def test_what_moves_is_stiffer_where_that_is_surely_likelier() -> None:
    best = FIRST * FACTOR
    taken, _ = chosen(FIRST, FIRST, around(best, sharpness=1.0, noise=0.1), at_rest_by(-6.0))
    assert taken == best


def test_a_strength_that_breaks_down_is_not_taken() -> None:
    values = {FIRST * FACTOR: torch.nan, FIRST: 0.0, FIRST / FACTOR: torch.inf}
    taken, _ = chosen(FIRST, FIRST, lambda rigidity: torch.full((PARTICLES,), values[rigidity]))
    assert taken == FIRST


@pytest.mark.parametrize(("worse", "taken"), [(0.0, FIRST / FACTOR), (0.2, FIRST)])
def test_a_motion_is_let_go_of_where_that_is_no_worse(worse: float, taken: float) -> None:
    alike, enough = around(FIRST, sharpness=0.0, noise=1.0), round(STILL * FACTOR / FIRST)
    assert freed(FIRST, enough, lambda rigidity: alike(rigidity) - worse * (rigidity < FIRST))[0] == pytest.approx(
        taken, rel=1e-2
    )


@pytest.mark.parametrize("particles", [20, 110, 450, 1800, 30_000])
@pytest.mark.parametrize("present", [FIRST * FACTOR, FIRST, FIRST / FACTOR, FIRST / FACTOR**4])
def test_a_motion_is_let_go_of_as_far_as_particles_keep_still_what_stands_still(present: float, particles: int) -> None:
    """The noise of the flow falls as the root of particles times rigidity."""
    taken, tried = freed(present, particles, around(present, sharpness=0.0, noise=0.0))
    assert taken <= present and len(tried) <= 4
    assert taken == present or taken * particles >= 0.999 * STILL
    assert taken * particles < 1.001 * STILL or taken == present / FACTOR**3 or taken == present


def test_a_motion_is_let_go_of_as_far_as_images_allow() -> None:
    evidence = lambda rigidity: torch.linspace(0.0, 1.0, PARTICLES) * (1.0 if rigidity < FIRST / 8 else 0.0)  # noqa: E731
    taken, tried = freed(FIRST, 30_000, lambda rigidity: -evidence(rigidity))
    assert taken == FIRST / FACTOR and len(tried) == 3


def test_a_strength_that_breaks_down_frees_nothing() -> None:
    taken, _ = freed(FIRST, 1800, lambda rigidity: torch.full((PARTICLES,), 0.0 if rigidity == FIRST else torch.nan))
    assert taken == FIRST


def test_a_map_at_rest_misses_a_motion_by_what_that_must_be_worth_and_not_by_chance() -> None:
    resting = torch.randn(PARTICLES, generator=torch.Generator().manual_seed(2))
    own = torch.randn(PARTICLES, generator=torch.Generator().manual_seed(3))
    own, error = (own - own.mean()) / own.std(), PARTICLES**-0.5
    by = lambda errors: at_rest(resting + own + errors * error, resting)  # noqa: E731
    needed = 0.2 / error + 2.0
    assert by(needed + 0.2).less_likely_by_a_motion and not by(needed - 0.2).less_likely_by_a_motion
    assert by(0.8).agrees and not by(1.2).agrees and by(-3.2).surely_likelier
    assert by(1.8).perhaps_as_likely and not by(3.0).perhaps_as_likely and not by(1.8).as_likely


@pytest.mark.parametrize("epochs", [16, 24, 37, 60])
def test_trials_come_before_epochs_of_the_flow_with_time_to_make_use_of_them(epochs: int) -> None:
    fixed = FlexConfig().fixed_map_epochs
    for epoch in trials(fixed, epochs):
        assert epoch > fixed and (epoch - fixed) % 2 == 1 and epoch < 0.8 * epochs
    assert trials(fixed, epochs) and not trials(fixed, fixed)


def test_a_trial_that_is_due_waits_for_an_epoch_that_can_make_it() -> None:
    assert sittings(100, lambda epoch: True) == {40, 50, 60}
    assert sittings(100, lambda epoch: not 38 <= epoch < 43) == {43, 50, 60}
    assert sittings(100, lambda epoch: epoch > 98) == set()


def test_trials_cost_at_most_a_quarter_of_the_training() -> None:
    for of in (36, 200, 900, 1500, 100_000):
        assert 9 * updates(of, 32) <= 0.25 * of
    assert updates(1500, 32) == 32


def test_a_trial_leaves_no_trace(any_trainer: Any) -> None:
    before = copy.deepcopy((any_trainer.model.state_dict(), vars(any_trainer.progress)))
    first, softer, again = (evidence_with(any_trainer, rigidity) for rigidity in (1.0, 0.01, 1.0))
    model, progress = before
    assert all(torch.equal(value, model[name]) for name, value in any_trainer.model.state_dict().items())
    assert all(
        torch.equal(value, progress[name]) if isinstance(value, torch.Tensor) else value == progress[name]
        for name, value in vars(any_trainer.progress).items()
    )
    assert torch.equal(first, again) and not torch.equal(first, softer)


def test_a_trial_leaves_poses_where_they_were(make: Callable[..., HalfTrainer]) -> None:
    trainer = make(warm_up_epochs=0, refine_poses=True)
    assert trainer.poses is not None
    before = trainer.poses.table.weight.clone()
    evidence_with(trainer, 1.0)
    assert torch.equal(trainer.poses.table.weight, before)


def evidence_with(trainer: Any, strength: float) -> Tensor:
    """What a trial of this strength finds."""
    weights = noise_weights(trainer.progress.noise_power, trainer.data.grid)
    found: Tensor = trainer._evidence_with(strength, weights)
    return found


def test_a_molecule_that_moves_is_not_held(trainer: FlexTrainer) -> None:
    """The hinge of a trained run, against a rigidity that lets nothing bend."""
    free, held = evidence_with(trainer, FIRST), evidence_with(trainer, 1e4)
    gain = (free - held).double()
    assert gain.mean() > 3.0 * gain.std() / len(gain) ** 0.5


def test_a_map_at_rest_is_less_likely_for_a_molecule_that_moves(trainer: FlexTrainer) -> None:
    weights = noise_weights(trainer.progress.noise_power, trainer.data.grid)
    kept = trainer.map.values.clone()
    resting = trainer._at_rest(weights)
    assert len(resting) == len(trainer.held_out) and torch.equal(trainer.map.values, kept)
    assert at_rest(trainer._evidence(weights), resting).less_likely_by_a_motion


@pytest.mark.parametrize(
    ("over_rest", "sitting", "factor"), [(2.4, 2, 1 / FACTOR), (2.4, 0, 1.0), (2.0, 2, 1.0), (0.04, 2, FACTOR)]
)
def test_a_motion_is_let_go_of_at_the_last_sitting_if_it_is_sure(
    trainer: FlexTrainer, monkeypatch: pytest.MonkeyPatch, over_rest: float, sitting: int, factor: float
) -> None:
    """Only a stiffer one is worse here; ``over_rest`` is by how many standard errors a map at rest is less likely."""
    spread = torch.linspace(-1.0, 1.0, PARTICLES)
    spread = spread / spread.std() * PARTICLES**0.5
    harsh = {FIRST * FACTOR: -spread.square()}
    monkeypatch.setattr(trainer, "_evidence_with", lambda strength, weights: harsh.get(strength, 0.0 * spread))
    monkeypatch.setattr(trainer, "_evidence", lambda weights: spread + over_rest)
    monkeypatch.setattr(trainer, "_at_rest", lambda weights: torch.zeros(PARTICLES))
    monkeypatch.setattr(trainer.data, "count", lambda index: STILL * FACTOR / FIRST)
    trainer.progress.epoch, trainer.progress.rigidity = sorted(trainer.trials)[sitting], FIRST
    trainer._choose_rigidity(trainer.weights())
    assert trainer.progress.rigidity == pytest.approx(FIRST * factor)
    assert trainer.progress.tried[0][0] is None


@pytest.mark.parametrize(("sitting", "doubt"), [(0, CHANCE), (1, CHANCE), (2, 0.0)])
def test_a_coordinate_has_the_benefit_of_the_doubt_until_the_last_sitting(
    trainer: FlexTrainer, monkeypatch: pytest.MonkeyPatch, sitting: int, doubt: float
) -> None:
    asked = []

    def every(active: Tensor, evidence: object, doubt: float) -> Tensor:
        asked.append(doubt)
        return active

    monkeypatch.setattr(how_many, "needed", every)
    trainer.progress.epoch = sorted(trainer.trials)[sitting]
    trainer._choose_coordinates(trainer.weights())
    assert asked == [doubt]


def test_a_given_rigidity_is_kept(trainer: FlexTrainer) -> None:
    assert trainer.trials and trainer.progress.rigidity == FIRST
    given = FlexTrainer(trainer.model, trainer.data, trainer.training, FlexConfig(rigidity=2.0))
    given.progress = copy.deepcopy(trainer.progress)
    given.progress.rigidity, given.progress.epoch = 2.0, min(given.trials)
    given._ask()
    assert given.progress.rigidity == 2.0 and not given.progress.tried


def test_a_given_ratio_is_kept(make: Callable[..., HalfTrainer]) -> None:
    assert len(make(0.5).trials) == 3 and not make(0.5, regularisation=0.9).trials


def test_what_was_tried_is_told_and_what_was_taken_marked() -> None:
    lines = [
        {"half": 1, "epoch": 3, "lambda": 0.55},
        {"half": 1, "epoch": 9, "lambda": 0.14, "tried": [[0.55, 0.0, 0.0], [0.14, 0.31, 0.05], "damaged"]},
    ]
    assert tried_rows(lines) == [("1", "9", "0.55", "+0.00 ± 0.00", ""), ("1", "9", "0.14", "+0.31 ± 0.05", "taken")]


def test_that_nothing_moves_is_told_among_what_was_tried() -> None:
    rest = [None, 0.01, 0.02]
    line = {"half": 2, "epoch": 9, "lambda": 2.2, "tried": [rest, [2.2, 0.3, 0.1]]}
    assert tried_rows([line])[0] == ("2", "9", "nothing moves", "+0.01 ± 0.02", "")
    assert tried_rows([line])[1][4] == "taken"


def test_the_report_says_along_how_many_coordinates_a_half_moves_in_the_end() -> None:
    lines = [{"half": 1, "coordinates": 2}, {"half": 2, "coordinates": 2}, {"half": 1, "coordinates": 1}, {"epoch": 4}]
    assert coordinates_sentence(lines).endswith("half 1 along 1, half 2 along 2.")
    assert coordinates_sentence([{"half": 1}]) == ""


def test_the_report_says_where_a_mesh_was_cut() -> None:
    lines = [
        {"half": 1, "segments": 3, "cut": [3, 0.183, 0.043]},
        {"half": 2, "segments": 1, "cut": [3, -0.05, 0.043]},
        {"half": 2, "segments": 1},
    ]
    said = cuts_sentence(lines)
    assert "half 1 was cut into 3 segments (+0.18 ± 0.04" in said and "half 2 was left whole (−0.05" in said
    nothing = "Nothing slides that a cut would part in half"
    assert cuts_sentence([{"half": 2, "cut": [1, 0.0, 0.0]}]) == f"{nothing} 2: left whole."
    assert cuts_sentence(lines[2:]) == ""
