"""Laws of work on both halves at once: results, errors, stops and deaths are those of one process after the other."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from dynaflex.errors import InputError, ResourceError, StoppedOnRequest
from dynaflex.kernels import native
from dynaflex.prepare.device import with_threads
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.lock import ENDING
from dynaflex.run.stop import Stop, stoppable
from dynaflex.workers.halves import Halves
from dynaflex.workers.worker import LocalWorker
from survival import CONTEXT
from workers.tasks import ALL, HALF_1, HOLDER, alive, ask, failing, hold, killing, noted, saving, when, who, wrong

CPU = torch.device("cpu")


def test_each_half_has_a_process_and_its_share_of_threads(run: Run) -> None:
    with with_threads(5), Halves(run, Stop(), CPU) as halves:
        first = halves.each(who, (1, 2), 0)
        assert halves.each(who, (1, 2), 0) == first, "the processes stay for what comes next"
    assert list(first) == [1, 2] and [half for half, *_ in first.values()] == [1, 2]
    assert len({os.getpid(), first[1][1], first[2][1]}) == 3
    assert all(threads == (2, 1) for _, _, *rest in first.values() for threads in [tuple(rest)])
    assert native.threads() == 2


@pytest.mark.parametrize("why", ["one thread", "a GPU", "one half", "little memory"])
def test_otherwise_one_after_the_other_in_this_process(run: Run, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "little memory":
        monkeypatch.setattr("dynaflex.workers.halves.available_memory", lambda: 10**9)
    device = torch.device("cuda" if why == "a GPU" else "cpu")
    with with_threads(1 if why == "one thread" else 4), Halves(run, Stop(), device) as halves:
        found = halves.each(who, (2,) if why == "one half" else (1, 2), 10**6)
        assert {pid for _, pid, *_ in found.values()} == {os.getpid()}
        assert {threads for _, _, threads, _ in found.values()} == {native.threads()}


def test_work_that_cannot_go_elsewhere_is_done_here(run: Run) -> None:
    with Halves(run, Stop(), CPU) as halves:
        assert halves.each(lambda half, _stop: (half, os.getpid()), (1, 2), 0) == {n: (n, os.getpid()) for n in (1, 2)}
    assert "one half after the other" in (run.path / "log.txt").read_text()


def test_what_both_note_is_in_the_run_once_and_whole(run: Run) -> None:
    with Halves(run, Stop(), CPU) as halves:
        halves.each(partial(noted, run), (1, 2), 0)
    warnings, lines = run.read_json(PROVENANCE)["warnings"], run.metrics.lines()
    assert not run.files.faults() and len(warnings) == len(lines) == 40
    for half in (1, 2):
        assert [one for one in warnings if one.startswith(f"half {half}")] == [f"half {half}, {n}" for n in range(20)]
        assert [one["epoch"] for one in lines if one["half"] == half] == list(range(20))
    assert sum("warning: half 1, 7" in line for line in (run.path / "log.txt").read_text().splitlines()) == 1


def test_a_fault_in_one_half_is_that_fault_and_the_other_is_saved(run: Run) -> None:
    with pytest.raises(InputError) as caught, Halves(run, Stop(), CPU) as halves:
        halves.each(partial(failing, run.path), (1, 2), 0)
    assert str(caught.value) == f"{run.path}: a fault of half 2. Fix: mend it [star.no-such]"
    assert (run.path / "saved1").exists() or not (run.path / "began1").exists()


def test_a_bug_in_one_half_says_where_it_is(run: Run) -> None:
    with pytest.raises(KeyError) as caught, Halves(run, Stop(), CPU) as halves:
        halves.each(wrong, (1, 2), 0)
    assert "return {1: 1}[half]" in "".join(caught.value.__notes__)


def test_a_process_that_is_killed_is_told_and_the_other_is_saved(run: Run) -> None:
    with pytest.raises(ResourceError) as caught, Halves(run, Stop(), CPU) as halves:
        halves.each(partial(killing, run.path), (1, 2), 0)
    for words in ("half 2", "SIGKILL", "--threads 1", "[half.gone]"):
        assert words in str(caught.value)
    assert (run.path / "saved1").exists() or not (run.path / "began1").exists()


def stopped(run: Run, whom: str, *numbers: signal.Signals) -> str:
    """What the stop says that somebody asks for while both halves are at work."""
    asking = CONTEXT.Process(target=ask, args=(run.path, os.getpid(), whom, numbers))
    asking.start()
    try:
        with stoppable(run.path) as stop, Halves(run, stop, CPU) as halves:
            halves.each(partial(saving, run.path), (1, 2), 0)
    except StoppedOnRequest as said:
        return str(said)
    finally:
        assert not any(alive(run.path / f"began{half}") for half in (1, 2))
        asking.join()
    return ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("whom", [HOLDER, HALF_1, ALL])
def test_a_stop_saves_both_halves(run: Run, number: signal.Signals, whom: str) -> None:
    assert f"stopped by {number.name}" in stopped(run, whom, number)
    assert (run.path / "saved1").exists() and (run.path / "saved2").exists()


@pytest.mark.parametrize("whom", [HOLDER, ALL])
def test_a_second_ctrl_c_does_not_wait(run: Run, whom: str) -> None:
    assert "stopped by SIGINT" in stopped(run, whom, signal.SIGINT, signal.SIGINT)
    assert not (run.path / "saved1").exists() and not (run.path / "saved2").exists()


def test_who_asks_again_while_the_workers_are_ended_leaves_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    end = LocalWorker.end

    def asked_again(worker: LocalWorker) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        end(worker)

    monkeypatch.setattr(LocalWorker, "end", asked_again)
    assert "stopped by SIGTERM" in stopped(run, HOLDER, signal.SIGTERM)


def test_the_lock_outlives_the_holder_until_its_workers_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    Run.create(path, "dynamight", {"seed": 0}, {})
    holder = CONTEXT.Process(target=hold, args=(path,))
    holder.start()
    when(path, "began1", "began2")
    holder.kill()
    holder.join()
    started = time.monotonic()
    with Run.open(path).locked():
        assert not any(alive(path / f"began{half}") for half in (1, 2))
    assert time.monotonic() - started < ENDING
    assert not (path / "saved1").exists()
