"""Rows L of the list: runs that are killed or stopped at random come to the end they would have come to."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from dynaflex.run.store import Place
from dynaflex.training.steps import Steps
from faults.harness import Command
from survival import brief, ended, final, start, until


@pytest.fixture(scope="module")
def uninterrupted(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """What a brief run of a method comes to if nothing disturbs it."""
    known: dict[str, dict[str, str]] = {}

    def results(method: str) -> dict[str, str]:
        if method not in known:
            folder = tmp_path_factory.mktemp("whole")
            assert ended(start(*brief(few, folder / "run", method=method), says=folder / "says")) == 0
            known[method] = final(folder / "run")
        return known[method]

    return results


def kill_again_and_again(few: Path, folder: Path, method: str, kills: int, seed: int) -> Path:
    """A run that is killed at random times, every other time while it saves, and resumed until it is done.

    What it resumes from is never older than the newest checkpoint that was there.
    """
    draw, run, says = random.Random(seed), folder / "run", folder / "says"
    left = kills
    while True:
        newest = max((Place(*_place(path)) for path in run.glob("checkpoints/half1_*") if _place(path)), default=None)
        trained = list(run.glob("checkpoints/latents1_*"))
        told = says.stat().st_size if says.exists() else 0
        process = start(*brief(few, run, "--resume", method=method), says=says)
        if left:
            if left % 2:
                until(lambda: any(run.glob("checkpoints/*.writing")), process, 0.0)
            else:
                until(lambda: (run / "lock.json").exists(), process)
                time.sleep(draw.random() * 2.0)
            process.kill()
            left -= 1
        code = ended(process)
        assert code in (0, -signal.SIGKILL), says.read_text()
        words = says.read_text()[told:]
        if newest is not None and not trained and "half 1: resumed" in words:
            within = f", update {newest.step}\n" if newest.step else "\n"
            assert f"half 1: resumed after epoch {newest.epoch}{within}" in words
        if code == 0 and not left:
            return run
        if code == 0:
            shutil.rmtree(run)


def _place(path: Path) -> tuple[int, int] | None:
    epoch, _, step = path.name.removeprefix("half1_").partition(".")
    return (int(epoch), int(step or 0)) if epoch.isdigit() and (not step or step.isdigit()) else None


@pytest.mark.parametrize(
    ("method", "kills"),
    [("dynamight", 3), ("flex", 2), pytest.param("dynamight", 140, marks=pytest.mark.slow),
     pytest.param("flex", 60, marks=pytest.mark.slow)],
)  # fmt: skip
def test_l_07_a_run_that_is_killed_comes_to_the_same_end(
    few: Path, tmp_path: Path, uninterrupted: Callable[[str], dict[str, str]], method: str, kills: int
) -> None:
    run = kill_again_and_again(few, tmp_path, method, kills, seed=kills)
    assert final(run) == uninterrupted(method)
    assert not [path for path in run.rglob("*") if path.name.endswith((".tmp", ".writing", ".old"))]


@pytest.mark.parametrize(
    ("method", "stops"),
    [("dynamight", 2), ("flex", 2), pytest.param("dynamight", 25, marks=pytest.mark.slow),
     pytest.param("flex", 15, marks=pytest.mark.slow)],
)  # fmt: skip
def test_l_06_a_run_that_is_stopped_at_random_updates_comes_to_the_same_end(
    few: Path, tmp_path: Path, command: Command, uninterrupted: Callable[[str], dict[str, str]], method: str, stops: int
) -> None:
    draw, run, take = random.Random(stops), tmp_path / "run", Steps.take
    left, stopped = 0, 0

    def counting(steps: Steps, *given: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(steps, *given)  # type: ignore[arg-type]

    with patch.object(Steps, "take", counting):
        while True:
            left = draw.randrange(1, 30) if stopped < stops else 0
            outcome = command(*brief(few, run, "--resume", method=method))
            stopped += outcome.code == 75
            if outcome.code == 0:
                assert final(run) == uninterrupted(method)
                if stopped >= stops:
                    break
                shutil.rmtree(run)
    assert stopped == stops
