"""The same work for both half-sets: side by side where cores and memory allow it, else one after the other.

Each half has a process of its own, and neither knows of the other. This one holds the run: it shows what both tell, and
makes every change of a file that is not of one half alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from dynaflex import spent, tell
from dynaflex.errors import ResourceError
from dynaflex.kernels import native
from dynaflex.machine import available_memory
from dynaflex.run.directory import Run
from dynaflex.run.refusals import to_resume
from dynaflex.run.stop import Stop
from dynaflex.workers.messages import (
    ANSWER,
    ASKED,
    ENDED,
    FAILED,
    REFUSAL,
    STOPPED,
    TOLD,
    WORK,
    NotPortable,
    packed,
    portable,
    received,
    send,
)

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Work = Callable[[int, Stop], T]
"""``work(half, stop)``: what it is made of can be pickled."""

_PROCESS = 0.7e9
"""Bytes of a process that has loaded torch and computes, beside its images and maps."""
_LOOK = 0.2
_PROGRAM = "from dynaflex.workers.process import main; main()"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Each(Protocol):
    """How the same work is done for several halves."""

    def __call__(self, work: Work[T], halves: Sequence[int], memory: int) -> dict[int, T]:
        """What ``work`` gives for each of the ``halves``, for which it needs so many bytes each."""


def in_turn(work: Work[T], halves: Sequence[int], memory: int, stop: Stop | None = None) -> dict[int, T]:
    """One half after the other, in this process, which a ``stop`` may be asked of."""
    return {half: work(half, stop or Stop()) for half in halves}


def threads_each(halves: Sequence[int], device: torch.device) -> int:
    """The threads that each of the ``halves`` has if they are worked on side by side; 0 where that is not to be."""
    return native.threads() // len(halves) if len(halves) > 1 and device.type == "cpu" else 0


class Halves:
    """Works on the halves of a ``run`` that this process holds; a ``stop`` is passed on to who works for it."""

    def __init__(self, run: Run, stop: Stop, device: torch.device) -> None:
        self.run = run
        self.stop = stop
        self.device = device
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers = {}

    def each(self, work: Work[T], halves: Sequence[int], memory: int) -> dict[int, T]:
        """What ``work`` gives for each of the ``halves``, for which it needs so many bytes each.

        Side by side it is done where there is more than one thread and both fit into memory; on a GPU there is room
        for one. How that turns out changes nothing in the result.

        Raises:
            ResourceError: a process was ended from outside, as where memory runs out.
            StoppedOnRequest: a stop was asked for.
        """
        threads = threads_each(halves, self.device)
        if not threads:
            return in_turn(work, halves, memory, self.stop)
        try:
            sent = packed(work)
        except NotPortable as why:
            tell.say(f"one half after the other: another process cannot be told what to do ({why})")
            return in_turn(work, halves, memory, self.stop)
        need, available = int(len(halves) * (_PROCESS + memory + 2 * len(sent))), available_memory()
        if available is not None and need > available:
            tell.say(
                f"one half after the other: both at once need {need / 1e9:.1f} GB, and {available / 1e9:.1f} GB are "
                "available"
            )
            return in_turn(work, halves, memory, self.stop)
        try:
            return self._side_by_side(sent, halves, threads)
        except BaseException:
            self.__exit__()
            raise

    def _side_by_side(self, work: bytes, halves: Sequence[int], threads: int) -> dict[int, Any]:
        if not self._workers:
            tell.say(f"both halves side by side, with {threads} thread{'s' * (threads > 1)} each")
        results: dict[int, Any] = {}
        taken: dict[int, spent.Spent] = {}
        error: Exception | None = None
        asked = False
        with self.stop.hold():
            for half in halves:
                if half not in self._workers:
                    self._workers[half] = _Worker(self.run)
                send(self._workers[half].connection, WORK, half, threads, work)
            at_work = {half: self._workers[half] for half in halves}
            while at_work:
                if (self.stop.requested or error is not None) and not asked:
                    asked = True
                    for worker in at_work.values():
                        worker.process.terminate()
                for half, kind, content in self._last_words(at_work):
                    del at_work[half]
                    if kind == ENDED:
                        results[half], taken[half] = content
                    elif kind == STOPPED:
                        self.stop.cause = self.stop.cause or (None if asked else content[0])
                    else:
                        error = error or content[0]
        spent.elsewhere(taken.values())
        if error is not None:
            raise error
        return {half: results[half] for half in halves}

    def _last_words(self, at_work: dict[int, _Worker]) -> Iterator[tuple[int, str, Any]]:
        """How the work on a half has ended, of those where it has; meanwhile do what workers ask for."""
        waiting: dict[object, int] = {worker.connection: half for half, worker in at_work.items()}
        for connection in wait([worker.connection for worker in at_work.values()], _LOOK):
            half = waiting[connection]
            worker = at_work[half]
            try:
                kind, *content = received(worker.connection)
            except (EOFError, OSError):
                yield half, FAILED, [_gone(self.run, half, worker.process.wait())]
                continue
            if kind == TOLD:
                name, *words = content
                getattr(tell, name)(*words)
            elif kind == ASKED:
                send(worker.connection, *self._answer(*content))
            else:
                yield half, kind, content

    def _answer(self, change: Callable[..., Any], *given: Any) -> tuple[str, Any]:
        try:
            return ANSWER, self.run.do(change, *given)
        except Exception as error:
            return REFUSAL, portable(error)


class _Worker:
    """A process that works on a half, and what it can be reached by."""

    def __init__(self, run: Run) -> None:
        self.connection, theirs = Pipe()
        program = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()), str(run.path)]
        # It shall find what this process finds, and work that stands in no package.
        surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        kept = [theirs.fileno()] if run.lock is None else [theirs.fileno(), run.lock]
        with _blocked(_SIGNALS):
            self.process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=kept, env=surroundings
            )
        theirs.close()

    def end(self) -> None:
        """End it at once. Between two pieces of work it has nothing to lose, and within one it would not before."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.connection.close()


def _gone(run: Run, half: int, code: int) -> ResourceError:
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return ResourceError(
        "half.gone", f"the process that worked on half {half} {ended}, and said nothing", file=run.path,
        fix=f"{to_resume(run.path)}; where memory ran out, with --threads 1, which works on one half after the other",
    )  # fmt: skip


@contextmanager
def _blocked(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """What is started inside hears none of these until it says so: it would know of nothing better than to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
