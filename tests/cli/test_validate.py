"""Laws of ``validate``: a motion that is in the images passes, and none is found where there is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dynaflex.prepare.half import HalfSet
from dynaflex.report import html
from dynaflex.results import support
from dynaflex.run.directory import LOCK

Command = Callable[..., Any]


@pytest.fixture
def run(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run that may be written to; its report is tested elsewhere."""
    monkeypatch.setattr(html, "write_report", lambda _: None)
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def found(outcome: Any) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(outcome.out)["controls"]}


def test_the_hinge_passes(run: Path, command: Command) -> None:
    outcome = command("validate", run, "--json")
    assert outcome.code == 0, outcome.out
    verdicts = {name: one["verdict"] for name, one in found(outcome).items()}
    assert "FAIL" not in verdicts.values()
    for half in (1, 2):
        assert verdicts[f"held-out gain, half {half}"] == verdicts[f"reversed motion, half {half}"] == "PASS"
    assert verdicts["agreement of the halves"] == "PASS" and "rest of the halves" in verdicts
    assert {f"leak of the {what}" for what in ("view", "in-plane angle", "defocus", "shift", "micrograph")} < set(
        verdicts
    )


def test_in_images_of_noise_nothing_is_found(run: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noise(HalfSet):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.images = torch.randn(self.images.shape, generator=torch.Generator().manual_seed(3))

    monkeypatch.setattr(support, "HalfSet", Noise)
    outcome = command("validate", run, "--json")
    verdicts = {name: one["verdict"] for name, one in found(outcome).items()}
    for half in (1, 2):
        assert verdicts[f"held-out gain, half {half}"] != "PASS"
    assert verdicts["agreement of the halves"] != "PASS"
    assert outcome.code == int("FAIL" in verdicts.values())


def test_the_number_behind_a_verdict_is_printed(run: Path, command: Command) -> None:
    outcome = command("validate", run, "--most", 25)
    assert outcome.code in (0, 1)
    lines = [line for line in outcome.out.splitlines() if line.startswith(("PASS", "WARN", "FAIL"))]
    assert len(lines) == 17 and all("chance" in line or "±" in line for line in lines)
    assert f"{sum(not line.startswith('FAIL') for line in lines)} of 17" in outcome.out


def test_what_cannot_be_validated(brief_run: Path, command: Command) -> None:
    outcome = command("validate", brief_run)
    assert outcome.code == 3 and "[validate.too-few]" in outcome.error_line()
    outcome = command("validate", brief_run, "--most", 1)
    assert outcome.code == 2 and "[validate.too-small]" in outcome.error_line()


def test_a_run_that_is_at_work_is_judged_and_not_written_to(run: Path, command: Command) -> None:
    lock = {"pid": os.getpid(), "host": "host-far-away", "since": "2026-01-01 00:00:00"}
    (run / LOCK).write_text(json.dumps(lock))
    outcome = command("validate", run, "--most", 25)
    assert outcome.code in (0, 1) and "of 17 controls did not fail" in outcome.out
    assert "warning: the run does not keep these verdicts" in outcome.err
    assert not (run / "validation.json").exists()
