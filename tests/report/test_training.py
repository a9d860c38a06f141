"""Laws of the figure of training: every curve that was recorded is drawn, in the unit its title names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from dynaflex.report.style import Drawing
from dynaflex.report.training import draw_training, held_out_gain

Epochs = Callable[..., Any]
GAIN, LIMIT = "held out: gain over rigid", "band limit of the map"


def words(picture: Drawing) -> str:
    return " ".join(re.findall(r">([^<>]+)</text>", picture.svg().decode()))


def test_a_gain_is_positive_where_the_motion_helps() -> None:
    assert held_out_gain({"held_out_loss": 100.0, "held_out_rigid_loss": 103.0}) == pytest.approx(3.0)
    assert held_out_gain({"held_out_loss": 100.0}) is None
    assert held_out_gain({"held_out_loss": None, "held_out_rigid_loss": 1.0}) is None


def test_panels_are_those_for_which_there_are_numbers(epochs_of_flex: Epochs) -> None:
    lines = list(epochs_of_flex(1))
    drawn = words(draw_training(lines, "rigidity", 72.0))
    assert GAIN in drawn and f"{LIMIT}, Å" in drawn and "rigidity" in drawn and "λ" not in drawn
    assert f"{LIMIT}, Fourier shell" in words(draw_training(lines, "rigidity", None))
    early = words(draw_training(lines[:4], "rigidity", 72.0))
    assert LIMIT not in early and GAIN in early
    plain = [{key: value for key, value in line.items() if "rigid_loss" not in key} for line in lines]
    assert GAIN not in words(draw_training(plain, "rigidity", 72.0))
    rising = [{**line, "lambda": float(line["epoch"])} for line in lines]
    assert "λ" in words(draw_training(rising, "geometry", 72.0))


def test_the_band_limit_is_the_width_of_the_box_over_the_shell(epochs_of_flex: Epochs) -> None:
    lines = [{**line, "band": 6} for line in epochs_of_flex(1) if line["phase"] == "map"]
    assert "12.0" in words(draw_training(lines, "rigidity", 72.0))


def test_halves_are_named_and_one_model_of_all_particles_is_called_so(epochs_of_flex: Epochs) -> None:
    both = words(draw_training([*epochs_of_flex(1), *epochs_of_flex(2)], "rigidity", 72.0))
    assert "half 1" in both and "half 2" in both and "all particles" not in both
    one = words(draw_training(list(epochs_of_flex(0)), "rigidity", 72.0))
    assert "all particles" in one and "half" not in one.replace("halves", "")


def test_lines_that_say_nothing_are_noted() -> None:
    assert "not in metrics.jsonl" in words(draw_training([{"half": 1}], "geometry", None))
