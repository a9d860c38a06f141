"""The same work for both half-sets: side by side where cores and memory allow it, else one after the other.

Each half has a process of its own, and neither knows of the other. This one holds the run: it shows what both tell, and
makes every change of a file that is not of one half alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from dynaflex import spent, tell
from dynaflex.errors import ResourceError
from dynaflex.kernels import native
from dynaflex.machine import available_memory
from dynaflex.ranks import MISSED
from dynaflex.run.directory import Run
from dynaflex.run.refusals import to_resume
from dynaflex.run.stop import PATIENCE, Stop
from dynaflex.workers.crew import Crew
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
from dynaflex.workers.worker import LocalWorker, Worker

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Work = Callable[[int, Stop], T]
"""``work(half, stop)``: what it is made of can be pickled."""

_PROCESS = 0.7e9
"""Bytes of a process that has loaded torch and computes, beside its images and maps."""
_LOOK = 0.2
_LATEST = PATIENCE + 10.0
"""Seconds after which those of several that were asked to stop are ended: one may wait for another that is gone."""

Seat = tuple[int, int]
"""A half, and a rank among those that work on it."""


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
    """Works on the halves of a ``run`` that this process holds; a ``stop`` is passed on to who works for it.

    Where there is a ``crew``, all of it does.
    """

    def __init__(self, run: Run, stop: Stop, device: torch.device, crew: Crew | None = None) -> None:
        self.run = run
        self.stop = stop
        self.device = device
        self.crew = crew
        self._workers: dict[int, Worker] = {}
        self._works = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        with self.stop.unheard():
            for worker in self._workers.values():
                worker.end()
            self._workers = {}

    def each(self, work: Work[T], halves: Sequence[int], memory: int) -> dict[int, T]:
        """What ``work`` gives for each of the ``halves``, for which it needs so many bytes each.

        Side by side it is done where there is more than one thread and both fit into memory; on a GPU there is room
        for one. How that turns out changes nothing in the result. A crew of an even number is divided between the
        halves; all of another work on one half after the other.

        Raises:
            ResourceError: a process was ended from outside, as where memory runs out.
            StoppedOnRequest: a stop was asked for.
        """
        threads = threads_each(halves, self.device)
        if self.crew is None and not threads:
            return in_turn(work, halves, memory, self.stop)
        try:
            sent = packed(work)
        except NotPortable as why:
            tell.say(f"one half after the other: another process cannot be told what to do ({why})")
            return in_turn(work, halves, memory, self.stop)
        if self.crew is not None:
            return self._by_all(self.crew, sent, halves)
        need, available = int(len(halves) * (_PROCESS + memory + 2 * len(sent))), available_memory()
        if available is not None and need > available:
            tell.say(
                f"one half after the other: both at once need {need / 1e9:.1f} GB, and {available / 1e9:.1f} GB are "
                "available"
            )
            return in_turn(work, halves, memory, self.stop)
        try:
            if not self._workers:
                tell.say(f"both halves side by side, with {threads} thread{'s' * (threads > 1)} each")
            for half in halves:
                self._workers.setdefault(half, LocalWorker(self.run))
            return self._side_by_side(sent, {half: [self._workers[half]] for half in halves}, threads)
        except BaseException:
            self.__exit__()
            raise

    def _by_all(self, crew: Crew, work: bytes, halves: Sequence[int]) -> dict[int, Any]:
        try:
            if not self._workers:
                tell.say(_spread(crew.size))
                self._workers = dict(enumerate(crew.hired(self.run)))
            everyone, threads = list(self._workers.values()), max(1, native.threads() // crew.here)
            if len(halves) == 1 or crew.size % len(halves):
                found: dict[int, Any] = {}
                for half in halves:
                    found |= self._side_by_side(work, {half: everyone}, threads)
                return found
            each = crew.size // len(halves)
            teams = {half: everyone[i * each : (i + 1) * each] for i, half in enumerate(halves)}
            return self._side_by_side(work, teams, threads)
        except BaseException:
            self.__exit__()
            raise

    def _side_by_side(self, work: bytes, teams: Mapping[int, Sequence[Worker]], threads: int) -> dict[int, Any]:
        """What comes of the work for each half, of which a team has one; that of its first is what counts."""
        results: dict[int, Any] = {}
        taken: dict[int, spent.Spent] = {}
        error: Exception | None = None
        asked: float | None = None
        self._works += 1
        with self.stop.hold():
            at_work: dict[Seat, Worker] = {}
            for half, team in teams.items():
                for rank, worker in enumerate(team):
                    place = None
                    if self.crew is not None and len(team) > 1:
                        work_name = f"{self._works}/{half}"
                        place = self.crew.place(rank, len(team), work_name, self.device.type)
                    send(worker.connection, WORK, half, threads, work, place, worker.gpu)
                    at_work[half, rank] = worker
            while at_work:
                if (self.stop.requested or error is not None) and asked is None:
                    asked = time.monotonic()
                    for worker in at_work.values():
                        worker.ask_to_stop()
                if self.crew is not None and asked is not None and time.monotonic() - asked > _LATEST:
                    break
                for seat, kind, content in self._last_words(at_work):
                    del at_work[seat]
                    if kind == ENDED:
                        if seat[1] == 0:
                            results[seat[0]], taken[seat[0]] = content
                    elif kind == STOPPED:
                        self.stop.cause = self.stop.cause or (None if asked else content[0])
                    else:
                        error = _told(error, content[0])
        spent.elsewhere(taken.values())
        if error is not None:
            raise error
        return {half: results[half] for half in teams}

    def _last_words(self, at_work: dict[Seat, Worker]) -> Iterator[tuple[Seat, str, Any]]:
        """How the work of those has ended where it has; meanwhile do what workers ask for."""
        waiting: dict[object, Seat] = {worker.connection: seat for seat, worker in at_work.items()}
        for connection in wait([worker.connection for worker in at_work.values()], _LOOK):
            seat = waiting[connection]
            worker = at_work[seat]
            try:
                kind, *content = received(worker.connection)
            except (EOFError, OSError):
                yield seat, FAILED, [_gone(self.run, seat[0], worker.last_word(), self.crew is not None)]
                continue
            if kind == TOLD:
                name, *words = content
                getattr(tell, name)(*words)
            elif kind == ASKED:
                send(worker.connection, *self._answer(*content))
            else:
                yield seat, kind, content

    def _answer(self, change: Callable[..., Any], *given: Any) -> tuple[str, Any]:
        try:
            return ANSWER, self.run.do(change, *given)
        except Exception as error:
            return REFUSAL, portable(error)


def _spread(size: int) -> str:
    if size % 2:
        return f"{size} process{'es' * (size > 1)} for one half after the other"
    return f"both halves side by side, with {size // 2} process{'es' * (size > 2)} each"


def _told(before: Exception | None, now: Exception) -> Exception:
    """Of two errors the one to be told: the first, but that another process was missed is what comes of its error."""
    missed = isinstance(before, ResourceError) and before.identifier == MISSED
    return now if before is None or missed else before


def _gone(run: Run, half: int, how: str, several: bool) -> ResourceError:
    other = "--threads 1, which works on one half after the other" if not several else "fewer --gpus, or a smaller box"
    return ResourceError(
        "half.gone", f"the process that worked on half {half} {how}, and said nothing", file=run.path,
        fix=f"{to_resume(run.path)}; where memory ran out, with {other}",
    )  # fmt: skip
