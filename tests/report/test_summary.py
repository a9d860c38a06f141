"""Laws of what a report says: the numbers are those of the files, and nothing is sold as more than it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.report.facts.summary import Motion, displacement_table, moment

PageOf = Callable[[Path], Any]


def test_numbers_of_the_files_appear(page: Any) -> None:
    for number in (
        "8.43 → 6.21 Å",
        "403 particles in the table = 400 used + 3 excluded",
        "0.0123",
        "27 + 27",
        "612 MB",
        "started 6 May 2024, 07:08 UTC",
    ):
        assert number in page.text, number
    assert "8,100 steps" in page.text and "9 min" in page.text
    assert "5, 17, 301" in page.text and "NaN in the image" in page.text
    assert "0.42" in page.text and "abc123" in page.text and "inside 20 Å" in page.text
    for shared in ("mask.mrc", "the map low-passed to 20 Å"):
        assert shared in page.text


def test_a_time_is_told_in_one_zone_and_what_is_none_as_it_is() -> None:
    assert moment("2026-01-01T00:30:00+02:00") == "31 December 2025, 22:30 UTC"
    assert moment("") == "" and moment("yesterday") == "yesterday"


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
        assert "cannot be said without held-out particles" in text and "±" not in text


MOTION = {
    "rms_displacement": np.array([0.0] * 60 + [0.3] * 10 + [6.0] * 10 + [8.0] * 20),
    "error": np.array([0.0] * 60 + [0.1] * 10 + [3.0] * 10 + [1.0] * 20),
    "displacement_norm": np.arange(101.0),
}


def test_motion_and_its_uncertainty_are_of_the_same_points() -> None:
    found = Motion.of(MOTION, shared=False)
    assert found.share == pytest.approx(0.3)
    assert found.size == pytest.approx(np.sqrt((10 * 36 + 20 * 64) / 30))
    assert found.error == pytest.approx(np.sqrt((10 * 9 + 20) / 30))
    assert found.certain == pytest.approx(2 / 3)
    assert found.tile().value == "7.4 ± 1.9 Å" and "7.4 ± 1.9 Å" in found.sentence()
    # What stands still says nothing about what moves, however surely or unsurely it does.
    for error in (0.0, 40.0):
        other = MOTION["error"].copy()
        other[:70] = error
        assert Motion.of({**MOTION, "error": other}, shared=False) == found
    longer = {name: np.concatenate([values[:1].repeat(200), values]) for name, values in MOTION.items()}
    assert Motion.of(longer, shared=False).tile().value == found.tile().value


def test_a_molecule_that_is_still_has_no_motion_to_be_sure_of() -> None:
    still = {**MOTION, "rms_displacement": MOTION["rms_displacement"] / 9.0}
    found = Motion.of(still, shared=False)
    assert found.tile().value == "below 1 Å" and found.error is None and "±" not in found.sentence()
    assert "Nothing moves" in found.sentence() and "0.89 Å" in found.sentence()


def test_halves_that_share_a_model_cannot_disagree() -> None:
    found = Motion.of(MOTION, shared=True)
    assert found.tile().value == "7.4 Å" and "cannot be said" in found.sentence()


def test_the_table_of_displacements_holds_their_quantiles() -> None:
    arrays = {"displacement_norm": np.arange(101.0), "rms_displacement": np.full(7, 2.5), "error": np.zeros(7)}
    rows, head = displacement_table(arrays)
    assert len(head) == len(rows[0]) == 4
    assert rows[0][1:] == ("50.00 Å", "90.00 Å", "100.00 Å")
    assert rows[1][1:] == ("2.50 Å",) * 3
    assert len(rows) == 2  # an error that was not measured has no line
    rows, _ = displacement_table(MOTION)
    assert [row[1] for row in rows] == ["50.00 Å", "8.00 Å", "1.00 Å"]  # medians, in the part that moves


def test_a_single_latent_coordinate_and_many_particles_are_drawn(tmp_path: Path, page_of: PageOf) -> None:
    for dimension, particles in ((1, 50), (2, 9000)):
        random = np.random.default_rng(1)
        mean = random.normal(size=(particles, dimension))
        np.savez(tmp_path / "latents.npz", half=1 + np.arange(particles) % 2, mean=mean)
        assert "latents" in page_of(tmp_path).identifiers
