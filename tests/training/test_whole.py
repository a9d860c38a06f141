"""Laws of motion of the whole: it is taken off unless images say beyond doubt that it belongs to the motion within."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from dynaflex.imaging.noise import noise_weights
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.report.facts.tried import whole_sentence
from dynaflex.training.likelihood import Judges


@pytest.mark.parametrize(
    ("gained", "error", "apart"), [(0.2, 0.1, True), (-0.4, 0.1, True), (-0.6, 0.1, False), (-0.04, 0.001, True)]
)
def test_motion_of_the_whole_is_taken_off_unless_images_object_beyond_doubt(
    any_trainer: Any, monkeypatch: pytest.MonkeyPatch, gained: float, error: float, apart: bool
) -> None:
    """By more than evidence is known to. And asking leaves no trace but that."""
    spread = torch.linspace(-1.0, 1.0, 200)
    spread = spread / spread.std() * 200**0.5 * error
    evidence = iter([torch.zeros(200), spread + gained])
    monkeypatch.setattr(Judges, "evidence_of_two", lambda *_, **__: next(evidence))
    some = any_trainer._some_latents(1) if isinstance(any_trainer, HalfTrainer) else any_trainer._some_latents()
    state, before = copy.deepcopy(any_trainer.model.state_dict()), any_trainer.model.deformed(some)
    any_trainer._choose_frame(weights_of(any_trainer))
    changed = {name for name, value in any_trainer.model.state_dict().items() if not torch.equal(value, state[name])}
    assert all(".still." in name for name in changed)
    assert torch.equal(any_trainer.model.deformed(some), before) != apart
    assert any_trainer.progress.whole == pytest.approx([gained, error], rel=1e-3)


def weights_of(trainer: Any) -> torch.Tensor:
    return noise_weights(trainer.progress.noise_power, trainer.data.grid)


def test_images_are_asked_of_both_methods(any_trainer: Any) -> None:
    """Twice as many latents say as much of the same images."""
    any_trainer._choose_frame(weights_of(any_trainer))
    gained, error = any_trainer.progress.whole
    assert math.isfinite(gained) and 0.0 < error < 10.0


def test_what_stands_still_is_found_anew_after_every_joint_epoch(make: Callable[..., HalfTrainer]) -> None:
    trainer = make(warm_up_epochs=0)
    trainer.run_epoch(lambda _figures: None)
    motion = trainer._motion()
    assert motion is not None and not motion.still.known
    trainer._find_still(motion)
    before = motion.still.reads.clone()
    figures: list[dict[str, Any]] = []
    trainer.run_epoch(figures.append)
    assert figures[0]["still"] and not torch.equal(motion.still.reads, before)


def test_the_body_of_a_hinge_stands_still_once_that_is_known(trainer: FlexTrainer) -> None:
    """What an epoch of the flow finds is found again at its end."""
    trainer._find_still()
    trainer._end_motion()
    mass, latents = trainer.map.mass(trainer.flow.mesh), trainer._some_latents()
    variance = trainer.flow.vertex_displacement(latents).detach().var(dim=0).sum(dim=1)
    share = (mass * (variance < 0.05 * variance.max())).sum() / mass.sum()
    assert share > 0.4


def test_an_asymmetric_unit_is_not_asked(trainer: FlexTrainer) -> None:
    """The other units, which are held, stand still already."""
    trainer.flow.fixed[:3] = True
    trainer._choose_frame(trainer.weights())
    assert not trainer.flow.still.known and not trainer.progress.whole


def test_the_report_says_what_became_of_motion_of_the_whole() -> None:
    lines = [
        {"half": 1, "epoch": 20, "whole": [0.02, 0.01], "still": True},
        {"half": 2, "epoch": 20, "whole": [-0.3, 0.06], "still": False},
        {"half": 1, "epoch": 22, "still": True},
        {"half": 2, "epoch": 22, "still": False},
    ]
    sentence = whole_sentence(lines)
    assert "in half 1 it is taken off (+0.02 ± 0.01 nats" in sentence
    assert "in half 2 it belongs to the motion, and stays (−0.30 ± 0.06 nats" in sentence
    assert whole_sentence(lines[2:]) == whole_sentence([]) == ""
