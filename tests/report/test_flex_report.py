"""Laws of the report of 3DFlex: it speaks of what that method has, and says what shared halves cannot show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PageOf = Callable[[Path], Any]


def test_each_method_is_called_by_its_name_and_parts(page: Any, flex_page: Any) -> None:
    assert "DynaMight" in page.text and "Gaussians" in page.text and "3DFlex" not in page.text
    assert "3DFlex" in flex_page.text and "canonical map" in flex_page.text
    for foreign in ("Gaussian", "DynaMight", "threshold"):
        assert foreign not in flex_page.text


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_its_settings_still_shows_what_it_has(flex: Path, page_of: PageOf) -> None:
    (flex / "config.json").unlink()
    page = page_of(flex)
    assert "an unknown method" in page.text and "mesh" in page.identifiers and "threshold.json" not in page.text


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_a_method_that_is_not_installed_is_reported(flex: Path, page_of: PageOf) -> None:
    config = json.loads((flex / "config.json").read_text())
    (flex / "config.json").write_text(json.dumps({**config, "method": "wobble"}))
    assert "the method wobble" in page_of(flex).text


def test_segments_of_the_mesh_are_shown_with_and_without_a_map(
    flex: Path, finished_flex: Path, flex_page: Any, page_of: PageOf
) -> None:
    cells = np.load(finished_flex / "mesh.npz")["segment"]
    for segment in (0, 1):
        assert f"segment {segment}: {(cells == segment).sum()} cells" in flex_page.text
    (flex / "maps" / "map.mrc").unlink()
    assert "mesh" in page_of(flex).identifiers


@pytest.mark.usefixtures("undrawn")
def test_a_mesh_that_is_none_does_not_stop_the_report(flex: Path, page_of: PageOf) -> None:
    found = dict(np.load(flex / "mesh.npz"))
    np.savez(flex / "mesh.npz", **{**found, "cells": found["cells"] + 10_000})
    page = page_of(flex)
    assert "mesh.npz: cannot be read" in page.text and "mesh" not in page.identifiers
    assert {"fsc", "latents", "training"} <= set(page.identifiers)


def test_latents_of_two_coordinates_are_shown_with_the_prior(flex: Path, flex_page: Any, page_of: PageOf) -> None:
    assert "latent coordinate 2" in flex_page.text and "standard deviations of the prior" in flex_page.text
    settings = json.loads((flex / "config.json").read_text())
    (flex / "config.json").write_text(json.dumps({**settings, "prior": "wall"}))
    assert "the wall of the prior at 1.5" in page_of(flex).text


def test_the_curve_of_the_gain_is_drawn_and_a_run_that_measured_no_support_gets_no_advice(flex_page: Any) -> None:
    assert "gain over rest, nats a particle, held out" in flex_page.text
    assert "Advice" not in flex_page.text


@pytest.fixture
def shared(flex: Path, epochs_of_flex: Callable[..., Any], fsc_curves: Callable[..., dict[str, object]]) -> Path:
    """A run in which both halves have one model, trained to 9 Å; the two searches for latents differ by a trifle."""
    settings = json.loads((flex / "config.json").read_text())
    (flex / "config.json").write_text(json.dumps({**settings, "half_sets": "shared"}))
    (flex / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in epochs_of_flex(0)))
    fsc = {"deformed": fsc_curves(6.5, 6.21), "rigid": fsc_curves(9.5, None), "claim_limit": 9.0}
    (flex / "fsc.json").write_text(json.dumps(fsc))
    return flex


def test_what_shared_halves_cannot_show_is_said(shared: Path, page_of: PageOf) -> None:
    text = page_of(shared).text
    assert "one model of the motion" in text and "limit of training (9.00 Å), nothing is independent" in text
    assert "±" not in text and "disagree" not in text
    assert "all particles" in text and "Epochs 16," in text


@pytest.mark.usefixtures("undrawn")
def test_shared_halves_trained_at_full_resolution_claim_nothing(
    shared: Path, page_of: PageOf, fsc_curves: Callable[..., dict[str, object]]
) -> None:
    fsc = {"deformed": fsc_curves(6.5, None), "rigid": fsc_curves(9.5, None), "claim_limit": 6.0}
    (shared / "fsc.json").write_text(json.dumps(fsc))
    text = page_of(shared).text
    assert "No resolution is claimed" in text and "--train-box" in text and "6.00 Å" in text


@pytest.mark.usefixtures("undrawn")
def test_the_conformation_that_each_half_rests_in_is_told(flex: Path, page_of: PageOf) -> None:
    assert "each half rests in" not in page_of(flex).text
    (flex / "alignment.json").write_text('{"half1": [0.25, 0.0], "half2": [0.125, -0.5]}')
    text = page_of(flex).text
    assert "each half rests in" in text and "0.125" in text and "0.25" in text


@pytest.mark.usefixtures("undrawn")
def test_what_held_out_images_say_of_the_motion_stands_in_the_report(flex: Path, page_of: PageOf) -> None:
    half = {"gain": 0.4, "error": 0.5, "over_others": 3.4, "over_others_error": 0.5}
    half |= {"over_whole": 0.3, "over_whole_error": 0.5}
    (flex / "support.json").write_text(json.dumps({"held_out": 90, "half1": half, "half2": half}))
    text = page_of(flex).text
    assert "+0.4 ± 0.5" in text and "Advice" in text and "The motion is not supported" in text
