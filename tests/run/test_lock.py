"""Laws of the lock: one process at a time, none after its death, and none taken from a machine that may be alive."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from dynaflex.errors import EnvironmentFault, RunBusyError
from dynaflex.io import durable
from dynaflex.run import lock
from dynaflex.run.lock import Holder, break_lock, locked
from dynaflex.run.repeat import repeating
from survival import CONTEXT

STARTERS = 8


def ignore(_message: str) -> None:
    """Nobody listens."""


def race(path: str, barrier: Any, outcomes: Any) -> None:
    """Take the lock, hold it while all others try, and say how that went."""
    barrier.wait()
    try:
        with locked(Path(path), ignore):
            outcomes.put("held")
            barrier.wait()
    except RunBusyError:
        outcomes.put("busy")
        barrier.wait()


def hold_for_ever(path: str) -> None:
    with locked(Path(path), ignore):
        time.sleep(600.0)


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("left", ["nothing", "a dead process's lock"])
def test_of_eight_starters_exactly_one_runs(tmp_path: Path, rounds: int, left: str) -> None:
    path = tmp_path / "lock.json"
    for _ in range(rounds):
        if left != "nothing":
            path.write_text(json.dumps(asdict(replace(Holder.me(), pid=dead_process()))))
        barrier, outcomes = CONTEXT.Barrier(STARTERS), CONTEXT.SimpleQueue()
        starters = [CONTEXT.Process(target=race, args=(str(path), barrier, outcomes)) for _ in range(STARTERS)]
        for starter in starters:
            starter.start()
        said = sorted(outcomes.get() for _ in starters)
        for starter in starters:
            starter.join()
        assert said == ["busy"] * (STARTERS - 1) + ["held"]
        assert not path.exists()


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    process = CONTEXT.Process(target=hold_for_ever, args=(str(path),))
    process.start()
    while lock.holder(path) is None or not lock.holder(path).pid:  # type: ignore[union-attr]
        time.sleep(0.01)
    with pytest.raises(RunBusyError, match=f"kill {process.pid}"), locked(path, ignore):
        pass
    process.kill()
    process.join()
    said: list[str] = []
    with locked(path, said.append):
        assert said == [f"process {process.pid} on {socket.gethostname()} had locked this run and is gone; "
                        "its lock was taken over"]  # fmt: skip


def test_a_process_is_told_from_a_later_one_of_the_same_number_and_from_one_before_the_machine_started_again() -> None:
    me = Holder.me()
    assert not me.is_dead()
    assert replace(me, start="1").is_dead() and replace(me, boot="another").is_dead()
    assert replace(me, pid=dead_process()).is_dead()
    assert not replace(me, host="elsewhere", pid=dead_process()).is_dead()
    assert not replace(me, pid=1, start="").is_dead(), "a process of somebody else lives"


def test_a_file_that_its_holder_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for that file holds something that nobody else will find."""
    path, flock, removed = tmp_path / "lock.json", durable.fcntl.flock, []

    def after_removal(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if not removed:
            removed.append(path.unlink())

    monkeypatch.setattr(durable.fcntl, "flock", after_removal)
    with locked(path, ignore), pytest.raises(RunBusyError), locked(path, ignore):
        pass
    assert removed


def test_where_the_kernel_keeps_no_locks_the_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(durable.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(durable.fcntl, "flock", unsupported)
    path = tmp_path / "lock.json"
    with locked(path, ignore):
        with pytest.raises(RunBusyError, match=str(os.getpid())), locked(path, ignore):
            pass
        assert path.exists()
    path.write_text(json.dumps(asdict(replace(Holder.me(), pid=dead_process()))))
    with locked(path, ignore):
        pass


def test_the_lock_of_a_silent_machine_is_broken_by_hand_only(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({"pid": 7, "host": "host-far-away", "since": "then"}))
    for age in (0.0, 1e6):
        os.utime(path, (time.time() - age,) * 2)
        with pytest.raises(RunBusyError, match="host-far-away") as busy, locked(path, ignore):
            pass
        assert "--force-unlock" in str(busy.value)
        assert f"{age:.0f} s ago" in str(busy.value)
    os.utime(path)
    with pytest.raises(RunBusyError):
        break_lock(path)
    os.utime(path, (time.time() - lock.SILENT - 1.0,) * 2)
    broken = break_lock(path)
    assert broken is not None and broken.host == "host-far-away" and not path.exists()
    assert break_lock(path) is None


def test_the_lock_of_a_living_process_cannot_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    with locked(path, ignore), pytest.raises(RunBusyError):
        break_lock(path)


@pytest.mark.parametrize("text", ["", "not json", "[1]", '{"pid": "x"}'])
def test_a_lock_that_cannot_be_read_is_taken_over_once_nobody_holds_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_text(text)
    with locked(path, ignore):
        assert lock.holder(path) == replace(Holder.me(), since=lock.holder(path).since)  # type: ignore[union-attr]


def test_the_holder_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    path = tmp_path / "lock.json"
    with locked(path, ignore):
        os.utime(path, (0.0, 0.0))
        deadline = time.monotonic() + 10.0
        while lock.heartbeat_age(path) > 5.0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


# Row D-10 of the list of faults.
def test_a_clock_set_back_makes_no_lock_old(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.touch()
    os.utime(path, (time.time() + 3600.0,) * 2)
    assert lock.heartbeat_age(path) == 0.0


def test_a_folder_that_is_gone_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as fault, locked(tmp_path / "gone" / "lock.json", ignore):
        pass
    assert fault.value.exit_code == 4


def test_what_repeats_ends_with_the_work() -> None:
    calls: list[float] = []
    with repeating(0.001, lambda: calls.append(time.monotonic())):
        while len(calls) < 3:
            time.sleep(0.001)
    count = len(calls)
    time.sleep(0.02)
    assert len(calls) == count


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.send_signal(signal.SIGKILL)
    process.wait()
    return process.pid
