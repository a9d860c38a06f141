"""Laws of what a report says: the numbers are those of the files, and nothing is sold as more than it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.report.summary import displacement_table, resolution_sentence

PageOf = Callable[[Path], Any]


def test_numbers_of_the_files_appear(page: Any) -> None:
    for number in (
        "8.43 → 6.21 Å",
        "403 particles in the table = 400 used + 3 excluded",
        "0.0123",
        "27 + 27",
        "612 MB",
    ):
        assert number in page.text, number
    assert "8,100 steps" in page.text and "9 min" in page.text
    assert "5, 17, 301" in page.text and "NaN in the image" in page.text
    assert "0.42" in page.text and "abc123" in page.text and "inside 20 Å" in page.text
    for shared in ("mask.mrc", "the map low-passed to 20 Å"):
        assert shared in page.text


def test_a_training_that_stopped_in_a_line_is_drawn_up_to_it(finished: Path, tmp_path: Path, page_of: PageOf) -> None:
    text = (finished / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(text[:-30])
    page = page_of(tmp_path)
    assert "training" in page.identifiers
    assert "Epochs 27 + 26" in page.text


@pytest.mark.usefixtures("undrawn")
def test_counts_that_do_not_add_up_are_a_warning(run: Path, page_of: PageOf) -> None:
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["counts"]["used"] -= 1
    (run / "provenance.json").write_text(json.dumps(provenance))
    assert "403 particles in the table, but 399 used + 3 excluded = 402" in page_of(run).text


@pytest.mark.usefixtures("undrawn")
def test_no_gain_and_no_claim_are_said_plainly(
    run: Path, page_of: PageOf, fsc_curves: Callable[..., dict[str, object]]
) -> None:
    fsc = {"deformed": fsc_curves(9, 8.5), "rigid": fsc_curves(9, 8.43), "claim_limit": 20.0}
    (run / "fsc.json").write_text(json.dumps(fsc))
    assert "no better than the rigid control at 8.43 Å" in page_of(run).text
    fsc |= {"deformed": fsc_curves(30, None), "rigid": fsc_curves(30, None)}
    (run / "fsc.json").write_text(json.dumps(fsc))
    page = page_of(run)
    assert "No resolution is claimed" in page.text and "20 Å that both halves started from" in page.text


def test_two_maps_that_agree_as_far_as_the_images_reach_are_told_apart_where_it_moves(
    fsc_curves: Callable[..., dict[str, object]],
) -> None:
    # The last shell of these curves lies at 6 Å.
    fsc = {"deformed": fsc_curves(5, 6.0), "rigid": fsc_curves(5, 6.0)}
    part = {"deformed": fsc_curves(6.5, 6.11), "rigid": fsc_curves(7, 6.38)}
    assert "6.38 → 6.11 Å" in resolution_sentence({**fsc, "moving_part": part})
    coarse = {"deformed": fsc_curves(8, 7.5), "rigid": fsc_curves(8, 7.5), "moving_part": part}
    said = resolution_sentence(coarse)
    assert "no better than the rigid control" in said and "in the part that moves most it is 6.38 → 6.11 Å" in said


@pytest.mark.usefixtures("undrawn")
def test_motion_within_its_error_is_not_sold_as_motion(run: Path, page_of: PageOf) -> None:
    motion = dict(np.load(run / "motion.npz"))
    np.savez(run / "motion.npz", **{**motion, "error": motion["rms_displacement"]})
    assert "should not be interpreted" in page_of(run).text
    np.savez(run / "motion.npz", **{**motion, "rms_displacement": np.full(300, 0.1)})
    assert "Nothing moves" in page_of(run).text


@pytest.mark.usefixtures("undrawn")
def test_an_error_that_was_not_measured_is_not_certainty(run: Path, page_of: PageOf) -> None:
    motion = dict(np.load(run / "motion.npz"))
    for error in (np.zeros(300), np.array(["none"] * 300)):
        np.savez(run / "motion.npz", **{**motion, "error": error})
        text = page_of(run).text
        assert "cannot be said without held-out particles" in text and "Uncertainty" not in text


def test_the_table_of_displacements_holds_their_quantiles() -> None:
    arrays = {"displacement_norm": np.arange(101.0), "rms_displacement": np.full(7, 2.5), "error": np.zeros(7)}
    rows, head = displacement_table(arrays)
    assert len(head) == len(rows[0]) == 4
    assert rows[0][1:] == ("50.00 Å", "90.00 Å", "100.00 Å")
    assert rows[1][1:] == ("2.50 Å",) * 3
    assert len(rows) == 2  # an error that was not measured has no line


def test_a_single_latent_coordinate_and_many_particles_are_drawn(tmp_path: Path, page_of: PageOf) -> None:
    for dimension, particles in ((1, 50), (2, 9000)):
        random = np.random.default_rng(1)
        mean = random.normal(size=(particles, dimension))
        np.savez(tmp_path / "latents.npz", half=1 + np.arange(particles) % 2, mean=mean)
        assert "latents" in page_of(tmp_path).identifiers
