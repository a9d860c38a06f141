"""What a run's time is spent on, stage by stage, and the memory that it takes at most.

Code deep inside says which stage its work is of; whoever stands further up counts. A stage inside another one takes its
time out of that one's, so that the times of all stages add up to what all of them took.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Stage = Literal[
    "reading", "first latents", "stiffness", "training", "final latents", "motion", "reconstruction", "report"
]
"""Files and the check of them, images made ready; latents to begin with; trials of how stiff the molecule is,
and whether it slides; all else of the training; the last latents; whether and how far everything moves; the maps; the
report."""
STAGES: tuple[Stage, ...] = get_args(Stage)
_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Spent:
    """Seconds, and those of processors, by stage; ``memory_mb`` is the most that all processes together held.

    Of two processes side by side the seconds of a stage are the mean of both, those of processors the sum.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0

    def add(self, stage: str, seconds: float, cpu_seconds: float) -> None:
        """Count what a stage has taken."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.cpu_seconds[stage] = self.cpu_seconds.get(stage, 0.0) + cpu_seconds


@dataclass
class _Frame:
    """A stage at work: what the stages inside it have taken so far."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


_counting: ContextVar[Spent | None] = ContextVar("counting", default=None)
_frame: ContextVar[_Frame | None] = ContextVar("frame", default=None)


@contextmanager
def counted(total: Spent | None = None) -> Iterator[Spent]:
    """Count what is spent inside, into a ``total`` or from nothing; whoever counts further up does not hear of it."""
    total = Spent() if total is None else total
    tokens = _counting.set(total), _frame.set(None)
    try:
        yield total
    finally:
        total.memory_mb = max(total.memory_mb, memory_mb())
        _counting.reset(tokens[0])
        _frame.reset(tokens[1])


@contextmanager
def on(stage: Stage) -> Iterator[None]:
    """All that is done inside is of this stage, but for what a stage inside takes."""
    outer, frame = _frame.get(), _Frame()
    token = _frame.set(frame)
    began, cpu_began = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        _frame.reset(token)
        seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
        _count(stage, seconds - frame.seconds, cpu_seconds - frame.cpu_seconds)
        if outer is not None:
            outer.seconds += seconds
            outer.cpu_seconds += cpu_seconds


def elsewhere(processes: Collection[Spent]) -> None:
    """Count what other ``processes`` have spent side by side, while this one waited for them."""
    total, frame = _counting.get(), _frame.get()
    for one in processes:
        for stage, seconds in one.seconds.items():
            share = seconds / len(processes)
            _count(stage, share, one.cpu_seconds[stage])
            if frame is not None:
                frame.seconds += share
    if total is not None:
        total.memory_mb = max(total.memory_mb, memory_mb() + sum(one.memory_mb for one in processes))


def memory_mb() -> float:
    """The largest resident memory of this process so far, in MB, or since it was last forgotten."""
    with suppress(OSError, LookupError, ValueError):
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return 1.024e-3 * float(lines["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1e-6 * peak if sys.platform == "darwin" else 1.024e-3 * peak


def forget_memory() -> None:
    """Begin anew to watch the memory of this process, where the system can; what was freed before is given back."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _FORGET.write_text("5")


def _count(stage: str, seconds: float, cpu_seconds: float) -> None:
    total = _counting.get()
    if total is not None:
        total.add(stage, seconds, cpu_seconds)
