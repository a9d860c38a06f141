"""Laws of how long a training goes on: beyond its plan only as long as particles held out surely become likelier."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from dynaflex.methods.flex.how_long import MOST, still_gains, stretch
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.shapes import Tensor

PARTICLES = 100
PLANNED = 16


def rising(by: float, noise: float, particles: int = PARTICLES) -> Iterator[Tensor]:
    """The evidence of particles that differ, asked again and again: each time ``by`` more, give or take ``noise``."""
    random = torch.Generator().manual_seed(1)
    evidence = 30.0 * torch.randn(particles, generator=random)
    while True:
        yield evidence
        change = torch.randn(particles, generator=random)
        evidence = evidence + by + noise * (change - change.mean())


@pytest.mark.parametrize(("by", "goes_on"), [(1.0, True), (0.1, False), (0.0, False), (-1.0, False)])
def test_a_training_goes_on_where_its_gain_is_sure(by: float, goes_on: bool) -> None:
    """However little that is beside how much particles differ; the standard error of the gain is 0.1."""
    evidence = rising(by, noise=1.0)
    assert still_gains(next(evidence), next(evidence)) == goes_on


@pytest.mark.parametrize("epochs", [1, 2, 16, 37, 49, 60])
def test_a_stretch_ends_with_the_motion_as_the_plan_does(epochs: int) -> None:
    assert stretch(epochs) % 2 == 0 and 2 <= stretch(epochs) <= max(2, epochs // 3 + 1)


def ends(trainer: FlexTrainer, by: float, monkeypatch: pytest.MonkeyPatch) -> int:
    """The epoch that a trainer ends with, if the particles held out are likelier ``by`` so much each time."""
    evidence = rising(by, noise=1.0, particles=len(trainer.held_out))
    monkeypatch.setattr(trainer, "_evidence", lambda _weights: next(evidence))
    while not trainer.finished:
        trainer.progress.epoch += 1
        trainer._end_epoch()
    return trainer.progress.epoch


@pytest.fixture
def trainer(make_flex: Callable[..., FlexTrainer], monkeypatch: pytest.MonkeyPatch) -> FlexTrainer:
    """At its beginning, of a third of the particles held out."""
    made = make_flex(2 / 3, batch_size=8)
    made.progress.epoch, made.planned, made.as_planned = 0, PLANNED, False
    return made


def test_what_gains_nothing_ends_as_planned(trainer: FlexTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends(trainer, 0.0, monkeypatch) == PLANNED


def test_what_always_gains_ends_all_the_same(trainer: FlexTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends(trainer, 1.0, monkeypatch) == PLANNED + MOST * stretch(PLANNED)


def test_epochs_that_were_asked_for_are_kept(trainer: FlexTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer.as_planned = True
    assert ends(trainer, 1.0, monkeypatch) == PLANNED
