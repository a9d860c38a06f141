"""Rows L of the list for two halves at work at once: killed, stopped or left alone, a run comes to the same end."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex.run.directory import Run
from survival import brief, ended, final, start, until

BOTH = ("--threads", 2)
CLOCK = ("seconds", "memory_mb", "run")
METHODS = pytest.mark.parametrize("method", ["dynamight", "flex"])


@pytest.fixture(scope="module")
def in_turn(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A brief run of a method, one half after the other."""
    known: dict[str, Path] = {}

    def made(method: str) -> Path:
        if method not in known:
            folder = tmp_path_factory.mktemp("in_turn")
            known[method] = folder / "run"
            typed = brief(few, known[method], "--threads", 1, method=method)
            assert ended(start(*typed, says=folder / "says")) == 0
        return known[method]

    return made


def figures(run: Path, half: int) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in one.items() if k not in CLOCK} for one in lines if one["half"] == half]


def checkpoints(run: Path) -> set[str]:
    return {path.name for path in run.glob("checkpoints/half?_*")}


def workers_of(pid: int) -> list[int]:
    """The processes that work on the halves of a run."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


@METHODS
def test_halves_at_once_come_to_what_halves_in_turn_come_to(
    few: Path, tmp_path: Path, in_turn: Callable[[str], Path], method: str
) -> None:
    run, whole = tmp_path / "run", in_turn(method)
    assert ended(start(*brief(few, run, *BOTH, method=method), says=tmp_path / "says")) == 0
    assert "both halves side by side, with 1 thread each" in (tmp_path / "says").read_text()
    assert final(run) == final(whole)
    for name in ("support.json", "alignment.json", "model_fsc.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    for half in (1, 2):
        assert figures(run, half) == figures(whole, half)
    assert not Run.open(run).files.faults()
    assert {path.name for path in run.glob("checkpoints/*")} == {path.name for path in whole.glob("checkpoints/*")}


@pytest.mark.parametrize(("method", "times"), [("flex", 2), pytest.param("dynamight", 40, marks=pytest.mark.slow)])
def test_a_run_whose_processes_are_killed_or_stopped_at_random_comes_to_the_same_end(
    few: Path, tmp_path: Path, in_turn: Callable[[str], Path], method: str, times: int
) -> None:
    """The holder is killed, a half is killed, or a stop is asked for, at once resumed each time."""
    draw, run, says = random.Random(times), tmp_path / "run", tmp_path / "says"
    codes = []
    for number in range(times + 1):
        began = checkpoints(run)
        process = start(*brief(few, run, "--resume", *BOTH, method=method), says=says)
        if number < times:
            new = until(lambda began=began: bool(checkpoints(run) - began), process)
            time.sleep(draw.random())
            halves = workers_of(process.pid or 0)
            if new and halves:
                whom, signal_number = draw.choice(
                    [
                        (process.pid, signal.SIGKILL),
                        (draw.choice(halves), signal.SIGKILL),
                        (process.pid, signal.SIGTERM),
                    ]
                )
                os.kill(whom or 0, signal_number)
        codes.append(ended(process))
        assert "Traceback" not in says.read_text(), says.read_text()
    assert codes[-1] == 0 and set(codes) <= {0, -signal.SIGKILL, 5, 75}, says.read_text()
    assert set(codes) != {0}
    assert final(run) == final(in_turn(method))
    for half in (1, 2):
        assert [one["epoch"] for one in figures(run, half)] == [one["epoch"] for one in figures(in_turn(method), half)]
    assert not [path for path in run.rglob("*") if path.name.endswith((".tmp", ".writing", ".old"))]


def test_a_stop_is_that_of_the_run_and_both_halves_are_saved_to_the_update(few: Path, tmp_path: Path) -> None:
    run, says = tmp_path / "run", tmp_path / "says"
    process = start(*brief(few, run, "--epochs", 4000, *BOTH), says=says)
    assert until(lambda: all(any(run.glob(f"checkpoints/half{half}_*")) for half in (1, 2)), process)
    os.kill(process.pid or 0, signal.SIGINT)
    assert ended(process) == 75
    said = says.read_text()
    assert said.splitlines()[-1].startswith(f"stopped by SIGINT; dynaflex resume {run} [") and "Traceback" not in said
    store = Run.open(run).store
    assert all(store.fault(path) is None for name in store.names() for path in store.series(name))
    assert not (run / "lock.json").exists()
