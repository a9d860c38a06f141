"""Laws of motion of the whole: it is taken off unless images surely say that it belongs to the motion within."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.report.facts.tried import whole_sentence


@pytest.fixture
def trainer(make_flex: Callable[..., FlexTrainer]) -> FlexTrainer:
    """Of a third of the particles held out, whose flow also turns the whole."""
    return make_flex(2 / 3, batch_size=8)


@pytest.mark.parametrize(("errors", "apart"), [(2.0, True), (-2.0, True), (-4.0, False)])
def test_motion_of_the_whole_is_taken_off_unless_images_surely_object(
    trainer: FlexTrainer, monkeypatch: pytest.MonkeyPatch, errors: float, apart: bool
) -> None:
    """And asking leaves no trace but that."""
    spread = torch.linspace(-1.0, 1.0, 200)
    spread = spread / spread.std() * 200**0.5
    evidence = iter([torch.zeros(200), spread + errors])
    monkeypatch.setattr(trainer, "_evidence", lambda *_args, **_more: next(evidence))
    before = copy.deepcopy(trainer.model.state_dict())
    trainer._choose_frame(trainer.weights())
    changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == ({"deformation.still.reads"} if apart else set())
    assert trainer.progress.whole == pytest.approx([errors, 1.0], rel=1e-4)


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
