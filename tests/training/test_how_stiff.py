"""Laws of how stiff a molecule is taken to be: held-out images choose, the stiffer of two that are alike, and what was
tried leaves no trace."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch

from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.how_stiff import FACTOR, FIRST, UPDATES, chosen, sittings, updates
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.report.facts.tried import tried_rows
from dynaflex.shapes import Tensor

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
        rigidity, tried = chosen(rigidity, evidence)
        assert [one.rigidity for one in tried] == sorted((one.rigidity for one in tried), reverse=True)
    assert rigidity == pytest.approx(best)


def test_of_strengths_that_are_alike_the_stiffest_is_taken() -> None:
    taken, _ = chosen(FIRST, around(FIRST, sharpness=0.0, noise=1.0))
    assert taken > FIRST


def test_a_strength_that_breaks_down_is_not_taken() -> None:
    values = {FIRST * FACTOR: torch.nan, FIRST: 0.0, FIRST / FACTOR: torch.inf}
    taken, _ = chosen(FIRST, lambda rigidity: torch.full((PARTICLES,), values[rigidity]))
    assert taken == FIRST


@pytest.mark.parametrize("epochs", [16, 24, 37, 60])
def test_trials_come_before_epochs_of_the_flow_with_time_to_make_use_of_them(epochs: int) -> None:
    fixed = FlexConfig().fixed_map_epochs
    for epoch in sittings(fixed, epochs):
        assert epoch > fixed and (epoch - fixed) % 2 == 1 and epoch < 0.8 * epochs
    assert sittings(fixed, epochs) and not sittings(fixed, fixed)


def test_trials_cost_at_most_a_quarter_of_the_training() -> None:
    for of in (36, 200, 900, 1500, 100_000):
        assert 9 * updates(of) <= 0.25 * of
    assert updates(1500) == UPDATES


@pytest.fixture
def trainer(make_flex: Callable[..., FlexTrainer]) -> FlexTrainer:
    """Of a third of the particles held out."""
    return make_flex(2 / 3, batch_size=8)


def test_a_trial_leaves_no_trace(trainer: FlexTrainer) -> None:
    before = copy.deepcopy((trainer.model.state_dict(), vars(trainer.progress)))
    first, softer, again = (trainer._evidence_with(rigidity) for rigidity in (1.0, 0.01, 1.0))
    model, progress = before
    assert all(torch.equal(value, model[name]) for name, value in trainer.model.state_dict().items())
    assert all(
        torch.equal(value, progress[name]) if isinstance(value, torch.Tensor) else value == progress[name]
        for name, value in vars(trainer.progress).items()
    )
    assert torch.equal(first, again) and not torch.equal(first, softer)


def test_a_molecule_that_moves_is_not_held(trainer: FlexTrainer) -> None:
    """The hinge of a trained run, against a rigidity that lets nothing bend."""
    free, held = trainer._evidence_with(FIRST), trainer._evidence_with(1e4)
    gain = (free - held).double()
    assert gain.mean() > 3.0 * gain.std() / len(gain) ** 0.5


def test_a_given_rigidity_is_kept(trainer: FlexTrainer) -> None:
    assert trainer.trials and trainer.progress.rigidity == FIRST
    given = FlexTrainer(trainer.model, trainer.data, trainer.training, FlexConfig(rigidity=2.0))
    assert not given.trials and given.progress.rigidity == 2.0


def test_what_was_tried_is_told_and_what_was_taken_marked() -> None:
    lines = [
        {"half": 1, "epoch": 3, "lambda": 0.55},
        {"half": 1, "epoch": 9, "lambda": 0.14, "tried": [[0.55, 0.0, 0.0], [0.14, 0.31, 0.05], "damaged"]},
    ]
    assert tried_rows(lines) == [("1", "9", "0.55", "+0.00 ± 0.00", ""), ("1", "9", "0.14", "+0.31 ± 0.05", "taken")]
