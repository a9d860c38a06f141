"""Laws of the controls in the report and the explorer: what ``dynaflex validate`` found is told as it was found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynaflex.judge.validation import VALIDATION, controls_in, record_of
from dynaflex.report.facts.verdicts import CONTROLS_HEAD, control_rows, verdicts
from dynaflex.validate.controls import FAIL, PASS, WARN, Control

PageOf = Callable[[Path], Any]
CONTROLS = [
    Control("held-out gain, half 1", PASS, 22.28, 1.79, "nats a particle", "motion explains <held-out> images"),
    Control("agreement of the halves", PASS, 0.94, 0.16, "correlation", "both halves see the same motion"),
    Control("leak of the view", PASS, float("nan"), -0.04, "R²", "the motion must not be told from the view"),
]


def keep(run: Path, controls: list[Control]) -> None:
    (run / VALIDATION).write_text(json.dumps(record_of(controls), allow_nan=False))


def test_controls_come_back_as_they_were_written() -> None:
    back = controls_in(json.loads(json.dumps(record_of(CONTROLS), allow_nan=False)))
    assert back[:2] == CONTROLS[:2] and back[2].value != back[2].value
    assert record_of([*CONTROLS, replace(CONTROLS[0], verdict=FAIL)])["failed"] == 1


@pytest.mark.usefixtures("undrawn")
def test_the_report_shows_every_control_with_its_number_and_what_chance_gives(run: Path, page_of: PageOf) -> None:
    keep(run, CONTROLS)
    text = page_of(run).text
    assert "All 3 controls of the motion were passed" in text and "were not run" not in text
    assert "held-out gain, half 1✓ passed+22.3 ± 1.8 nats a particle0motion explains <held-out> images" in text
    assert "agreement of the halves✓ passed+0.94 correlation+0.16" in text
    rows = [dict(zip(CONTROLS_HEAD, row, strict=True)) for row in control_rows(CONTROLS)]
    assert rows[1]["by chance"] == "+0.16" and rows[0]["by chance"] == "0"


@pytest.mark.usefixtures("undrawn")
def test_a_control_that_failed_is_a_warning_in_both_places(run: Path, page_of: PageOf) -> None:
    keep(run, [CONTROLS[0], replace(CONTROLS[1], verdict=FAIL), replace(CONTROLS[2], verdict=WARN)])
    text = page_of(run).text
    assert "1 of 3 controls were passed; unclear: leak of the view; failed: agreement of the halves." in text
    assert "✗ failed" in text and "were passed." not in text
    told = [one for one in verdicts(run) if "failed: agreement of the halves" in one["text"]]
    assert [one["kind"] for one in told] == ["warning"]


@pytest.mark.usefixtures("undrawn")
def test_controls_that_were_not_run_are_asked_for(run: Path, page_of: PageOf) -> None:
    page = page_of(run)
    assert f"dynaflex validate {run}" in page.text and "validation.json" not in page.text
    assert any(f"dynaflex validate {run}" in one["text"] for one in verdicts(run))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("content", ["{", "{}", '{"controls": []}', '{"controls": [{"verdict": "FINE"}]}', "[]"])
def test_verdicts_that_cannot_be_read_are_named(content: str, run: Path, page_of: PageOf) -> None:
    (run / VALIDATION).write_text(content)
    text = page_of(run).text
    assert "validation.json: cannot be read" in text and "were not run" in text
    assert verdicts(run)


def test_validate_keeps_its_verdicts_in_the_run_and_its_report(
    finished_run: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    assert "were not run" in (run / "report.html").read_text()
    outcome = command("validate", run, "--json", "--most", 25)
    assert json.loads((run / VALIDATION).read_text()) == json.loads(outcome.out)
    page = (run / "report.html").read_text()
    assert "were not run" not in page and "leak of the defocus" in page
    assert not (run / "lock.json").exists()
