"""Laws of the curves of training: every number that was recorded is drawn, under a title that says what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dynaflex.report.drawing.curves import Plot
from dynaflex.report.facts.advice import held_out_gain
from dynaflex.report.training_curves import training_plots

Epochs = Callable[..., Any]
NEW = ("log_likelihood", "held_out_log_likelihood", "gain", "held_out_gain")
GAIN = "gain over rest"


def plots_of(lines: list[dict[str, Any]], width: float | None = 72.0) -> dict[str, Plot]:
    """The plots by the words of their titles before the first comma or semicolon."""
    return {plot.title.split(",")[0].split(";")[0]: plot for plot in training_plots(lines, "rigidity", width)}


def improving(halves: tuple[int, ...] = (1, 2), *keys: str) -> list[dict[str, Any]]:
    """Six epochs in which the fit improves."""
    line = {"data_loss": 1500.0, "held_out_loss": 1502.0, "geometry": 1.0}
    return [
        {**line, "half": half, "epoch": epoch, **{key: epoch - 4.0 + half / 10 for key in keys}}
        for half in halves
        for epoch in range(1, 7)
    ]


def test_a_gain_is_positive_where_the_motion_helps() -> None:
    assert held_out_gain({"held_out_loss": 100.0, "held_out_rigid_loss": 103.0}) == pytest.approx(3.0)
    assert held_out_gain({"held_out_loss": 100.0, "held_out_rigid_loss": 103.0, "held_out_gain": 2.0}) == 2.0
    assert held_out_gain({"held_out_loss": 100.0}) is None
    assert held_out_gain({"held_out_loss": None, "held_out_rigid_loss": 1.0}) is None


def test_the_likelihood_takes_the_place_of_the_loss_and_what_was_held_out_is_dashed() -> None:
    drawn = plots_of(improving((1, 2), *NEW))
    likelihood = drawn["log-likelihood"]
    assert "data loss" not in drawn and likelihood.title.endswith("; held out dashed")
    named = {curve.label: curve for curve in likelihood.curves}
    assert {label: curve.style for label, curve in named.items()} == {
        "half 1": "-", "half 1, held out": "--", "half 2": "-", "half 2, held out": "--",
    }  # fmt: skip
    np.testing.assert_allclose(named["half 2"].y, np.arange(1, 7) - 3.8)
    assert (np.diff(named["half 1"].y) > 0).all() and not likelihood.inverted
    assert list(drawn[GAIN].levels) == [0.0] and len(drawn[GAIN].curves) == 4


def test_nothing_is_called_held_out_that_was_not() -> None:
    drawn = plots_of(improving((1, 2), "log_likelihood", "gain"))
    assert all("held out" not in plot.title for plot in drawn.values())
    assert all("held out" not in curve.label for plot in drawn.values() for curve in plot.curves)
    only = plots_of(improving((1, 2), "held_out_gain"))[GAIN]
    assert only.title.endswith(", held out") and {curve.style for curve in only.curves} == {"--"}


def test_the_spread_of_contrasts_is_shown_where_there_is_one() -> None:
    drawn, title = (
        plots_of(improving((1, 2), "contrast_spread")),
        "spread of the particles' contrast (of its logarithm)",
    )
    assert len(drawn[title].curves) == 2
    assert title not in plots_of([{**line, "contrast_spread": 0.0} for line in improving()])


def test_older_runs_show_their_loss_without_its_first_epoch(epochs_of_flex: Epochs) -> None:
    drawn = plots_of(list(epochs_of_flex(1)))
    loss = drawn["data loss"]
    assert "log-likelihood" not in drawn and loss.title.endswith("held out dashed")
    assert np.isnan(loss.curves[0].y[0]) and np.isfinite(loss.curves[0].y[1])
    assert GAIN in drawn


def test_there_is_a_plot_of_what_has_numbers_and_of_nothing_else(epochs_of_flex: Epochs) -> None:
    lines = list(epochs_of_flex(1))
    assert {"rigidity", "rms displacement", "band limit of the map"} <= set(plots_of(lines))
    assert "band limit of the map" not in plots_of(lines[:4])
    plain = [{key: value for key, value in line.items() if "rigid_loss" not in key} for line in lines]
    assert GAIN not in plots_of(plain) and "weight of the geometry" not in plots_of(lines)
    assert "weight of the geometry" in plots_of([{**line, "lambda": float(line["epoch"])} for line in lines])
    assert training_plots([{"half": 1}], "geometry", None) == []


def test_the_band_limit_is_the_width_of_the_box_over_the_shell(epochs_of_flex: Epochs) -> None:
    lines = [{**line, "band": 6} for line in epochs_of_flex(1) if line["phase"] == "map"]
    limit = plots_of(lines)["band limit of the map"]
    assert limit.title.endswith("Å") and limit.inverted
    np.testing.assert_allclose(limit.curves[0].y, 12.0)
    (limit,) = (plot for title, plot in plots_of(lines, None).items() if title.startswith("band limit"))
    assert limit.title.endswith("Fourier shell") and not limit.inverted


def test_halves_are_named_and_one_model_of_all_particles_is_called_so(epochs_of_flex: Epochs) -> None:
    for halves, names in (((1, 2), {"half 1", "half 2"}), ((0,), {"all particles"})):
        lines = [line for half in halves for line in epochs_of_flex(half)]
        assert {curve.label for curve in plots_of(lines)["rigidity"].curves} == names


def test_epochs_before_the_first_map_are_shaded_as_one(epochs_of_flex: Epochs) -> None:
    assert plots_of(list(epochs_of_flex(1)))["rigidity"].bands == [(0.5, 5.5)]
    phases = ["warm-up", "warm-up", "joint", "joint", "gaussians", "joint"]
    lines = [{**line, "phase": phase} for line, phase in zip(improving((1,)), phases, strict=True)]
    assert plots_of(lines)["rigidity"].bands == [(0.5, 2.5), (4.5, 5.5)]
