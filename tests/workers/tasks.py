"""Work for halves, to be imported by the processes that do it, and people who disturb it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from dynaflex import ranks, tell
from dynaflex.errors import InputError
from dynaflex.kernels import native
from dynaflex.prepare.device import with_threads
from dynaflex.run.directory import Run
from dynaflex.run.stop import Stop
from dynaflex.workers.halves import Halves

HOLDER, HALF_1, ALL = "the holder", "half 1", "all"


def who(half: int, _stop: Stop) -> tuple[int, int, int, int]:
    return half, os.getpid(), native.threads(), torch.get_num_threads()


def noted(run: Run, half: int, _stop: Stop) -> None:
    for number in range(20):
        run.warn(f"half {half}, {number}")
        run.metrics.record({"half": half, "epoch": number})
        tell.progress(f"half {half}", number, 20)


def failing(run: Path, half: int, stop: Stop) -> None:
    if half == 2:
        raise InputError("star.no-such", "a fault of half 2", file=run, fix="mend it")
    saving(run, half, stop)


def wrong(half: int, _stop: Stop) -> object:
    return {1: 1}[half]


def saving(run: Path, half: int, stop: Stop) -> None:
    """Work for ever; a stop waits until it is saved how far that came."""
    with stop.hold():
        # Whoever sees the file may read its number at once.
        (run / f"begins{half}").write_text(str(os.getpid()))
        (run / f"begins{half}").rename(run / f"began{half}")
        while not stop.requested:
            time.sleep(0.01)
        time.sleep(0.3)
        (run / f"saved{half}").touch()


def killing(run: Path, half: int, stop: Stop) -> None:
    if half == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    saving(run, half, stop)


def when(run: Path, *names: str) -> None:
    last = time.monotonic() + 60.0
    while not all((run / name).exists() for name in names):
        assert time.monotonic() < last
        time.sleep(0.01)


def ask(run: Path, holder: int, whom: str, numbers: Sequence[int]) -> None:
    """Send signals, one after the other, once both halves are at work."""
    when(run, "began1", "began2")
    halves = [int((run / f"began{half}").read_text()) for half in (1, 2)]
    for number in numbers:
        for pid in {HOLDER: [holder], HALF_1: halves[:1], ALL: [*halves, holder]}[whom]:
            os.kill(pid, number)
        time.sleep(0.1)


def hold(path: Path) -> None:
    """Hold a run whose halves are worked on."""
    run = Run.open(path)
    with run.locked(), with_threads(2), Halves(run, Stop(), torch.device("cpu")) as halves:
        halves.each(partial(saving, path), (1, 2), 0)


def alive(file: Path) -> bool:
    """Whether the process whose number a file holds is there, and not only its parent's memory of it."""
    try:
        state = Path(f"/proc/{int(file.read_text())}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return False
    return state != "Z"


def added_up(half: int, _stop: Stop) -> tuple[int, int, list[int]]:
    """The half, how many work on it, and their processes, by a sum of all."""
    mine = torch.zeros(ranks.size(), dtype=torch.float64)
    mine[ranks.rank()] = os.getpid()
    return half, ranks.size(), [int(pid) for pid in ranks.summed(mine).tolist()]


def faulty(run: Path, _half: int, stop: Stop) -> None:
    _begun(run)
    if ranks.rank() == 1:
        raise InputError("star.no-such", "a fault of one rank", file=run, fix="mend it")
    _summing(stop)


def dying(run: Path, _half: int, stop: Stop) -> None:
    _begun(run)
    if ranks.rank() == 1:
        when_all(run, ranks.size())
        os.kill(os.getpid(), signal.SIGKILL)
    _summing(stop)


def when_all(run: Path, count: int) -> None:
    when(run, *(f"began{rank}" for rank in range(count)))


def _begun(run: Path) -> None:
    (run / f"begins{ranks.rank()}").write_text(str(os.getpid()))
    (run / f"begins{ranks.rank()}").rename(run / f"began{ranks.rank()}")


def _summing(stop: Stop) -> None:
    with stop.hold():
        while True:
            ranks.summed(torch.ones(3))
