"""Laws of ``dynaflex check --plan``: it says what its run takes, leaves nothing behind, and the run compares."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynaflex.cli.commands.check import _next
from dynaflex.cli.planned import advice
from dynaflex.costs.plan import Plan
from dynaflex.errors import StoppedOnRequest
from dynaflex.planning import measure
from dynaflex.spent import STAGES

Command = Callable[..., Any]
BRIEF = ("--epochs", 3, "--batch-size", 8, "--threads", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Path:
    """A folder with particles, a place for temporary files, and one for plans."""
    folder = tmp_path_factory.mktemp("planned")
    shutil.copytree(few, folder / "data")
    (folder / "scratch").mkdir()
    (folder / "settings.toml").write_text("cells = 6\nwidth = 8\n")
    return folder


@pytest.fixture(autouse=True)
def _own_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(home / "scratch"))
    monkeypatch.chdir(home)


def files(home: Path) -> tuple[object, ...]:
    data = home / "data"
    return data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc"


def around(home: Path) -> dict[str, int]:
    """All files but plans, with the time of their last change."""
    there = (path for path in home.rglob("*") if path.is_file() and "plans" not in path.parts)
    return {str(path): path.stat().st_mtime_ns for path in there}


@pytest.fixture(scope="module")
def told(home: Path, command: Command) -> dict[str, Any]:
    """What a plan says to a machine; nothing may lie around after it."""
    with pytest.MonkeyPatch.context() as context:
        context.setenv("XDG_CACHE_HOME", str(home / "cache"))
        context.setattr(tempfile, "tempdir", str(home / "scratch"))
        before = around(home)
        outcome = command(
            "check", *files(home), "--plan", "--method", "flex", "--config", home / "settings.toml", "--json", *BRIEF
        )
        assert outcome.code == 0, outcome.err
        assert around(home) == before and not list((home / "scratch").iterdir())
    found: dict[str, Any] = json.loads(outcome.out)["plans"]["flex"]
    return found


def test_the_stages_of_a_plan_are_those_of_its_run_which_compares_them(
    home: Path, told: dict[str, Any], command: Command
) -> None:
    settings = ("--config", home / "settings.toml", *BRIEF)
    outcome = command("flex", *files(home), "-o", home / "run", *settings)
    assert outcome.code == 0, outcome.err
    spent = json.loads((home / "run" / "spent.json").read_text())
    # With a plan of three epochs no stiffness is tried before the map was solved for.
    assert set(told["seconds"]) == set(STAGES) == set(spent["seconds"]) | {"stiffness"}
    assert json.loads((home / "run" / "plan.json").read_text()) == told
    assert told["total_seconds"] == pytest.approx(sum(told["seconds"].values()))
    assert all(value >= 0.0 for value in told["seconds"].values()) and told["memory_mb"] > 100.0
    for page in (outcome.out, (home / "run" / "log.txt").read_text()):
        assert "planned / taken: reading" in page
    report = (home / "run" / "report.html").read_text()
    assert "What it took" in report and '<th scope="col">planned</th>' in report


def test_a_run_with_other_settings_has_no_plan_and_still_says_what_it_took(
    home: Path, told: dict[str, Any], command: Command, tmp_path: Path
) -> None:
    del told
    outcome = command("flex", *files(home), "-o", tmp_path / "run", "--until", "prepare", "--cells", 6, *BRIEF)
    assert outcome.code == 0, outcome.err
    assert not (tmp_path / "run" / "plan.json").exists() and "planned" not in outcome.out
    assert set(json.loads((tmp_path / "run" / "spent.json").read_text())["seconds"]) == {"reading"}


def test_a_plan_that_is_stopped_leaves_nothing_behind(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_given: object) -> None:
        raise StoppedOnRequest("run.stopped", "stopped by SIGTERM")

    monkeypatch.setattr(measure, "trained", stopped)
    before = around(home)
    outcome = command("check", *files(home), "--plan", "--method", "flex", *BRIEF)
    assert outcome.code == StoppedOnRequest.exit_code
    assert around(home) == before and not list((home / "scratch").iterdir())


def test_the_run_that_was_planned_is_what_is_suggested() -> None:
    given = {"--map": Path("m.mrc"), "--mask": None, "--invert-contrast": True, "--epochs": 12, "--threads": 2}
    assert _next(Path("p.star"), given, "flex") == (
        "dynaflex flex p.star --map m.mrc --invert-contrast --epochs 12 --threads 2 -o run"
    )


def test_a_plan_needs_a_map_and_settings_need_a_plan(home: Path, command: Command) -> None:
    particles, *with_map = files(home)
    assert "[check.plan-map]" in command("check", particles, "--plan").error_line()
    for setting in (("--epochs", 3), ("--method", "flex"), ("--train-box", 16)):
        line = command("check", particles, *with_map, *setting).error_line()
        assert str(setting[0]) in line and "[check.no-plan]" in line


def test_advice_says_only_what_the_plan_knows(told: dict[str, Any]) -> None:
    plan = replace(Plan.from_dict(told), most_epochs=told["epochs"], memory_mb=1.0)
    seconds = {**dict.fromkeys(STAGES, 1.0), "training": 90.0}
    long = replace(plan, seconds=seconds, epochs=60, most_epochs=150, epoch_seconds=1.5)
    goes_on, shorter, *_ = advice([long])
    assert "150 epochs" in goes_on and "--epochs 30" in shorter
    assert "52 s" in shorter  # 97 s, less 30 epochs of 1.5 s
    assert not any("epochs" in line for line in advice([replace(plan, seconds=dict.fromkeys(STAGES, 1.0))]))
