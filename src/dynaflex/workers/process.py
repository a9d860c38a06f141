"""The process that works on a half, and how it sees the run that another one holds.

It ends with the process that started it, however that ends, as if both were one: the files of a run are whole at any
moment. The lock of the run is open here too, so that nobody else gets it before this process is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import nullcontext, suppress
from functools import cached_property, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dynaflex import spent, tell
from dynaflex.errors import StoppedOnRequest
from dynaflex.ranks import joined
from dynaflex.run.directory import Run
from dynaflex.run.metrics import Metrics
from dynaflex.run.stop import Stop, stoppable
from dynaflex.workers.crew import Started, called, own_gpu, started
from dynaflex.workers.messages import ANSWER, ASKED, ENDED, FAILED, STOPPED, Outbox, Told, portable, received, unpacked


class RunOfOther(Run):
    """A run that another process holds: checkpoints are written here, all else is changed by its holder."""

    def __init__(self, holder: Holder, path: Path, identity: str | None) -> None:
        super().__init__(path)
        vars(self)["identity"] = identity
        self._holder = holder

    def do(self, change: Any, *given: Any) -> Any:
        """Have a change made by the process that holds the run."""
        return self._holder.ask(change, *given)

    def warn(self, message: str) -> None:
        """Have the user told, and the report's reader."""
        self.do(Run.warn, message)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Refuse: two processes must not write one file."""
        raise PermissionError(f"{name} is written by the process that holds the run")

    @cached_property
    def metrics(self) -> Metrics:
        """The figures of the training, which the holder writes."""
        return _MetricsOfOther(self)


class RunOfFirst(RunOfOther):
    """The same for one that does what a first does too, who writes and tells what both have found."""

    def do(self, change: Any, *given: Any) -> Any:
        """Leave it to the first."""

    def save_checkpoint(self, *_content: Any, **_place: Any) -> None:
        """Leave it to the first."""


class _MetricsOfOther(Metrics):
    def __init__(self, run: RunOfOther) -> None:
        super().__init__(run.path, run.identity, run.files)
        self._run = run

    def record(self, figures: dict[str, Any]) -> None:
        self._run.do(_record, figures)

    def forget(self, half: int, after: int) -> None:
        self._run.do(_forget, half, after)


def _record(run: Run, figures: dict[str, Any]) -> None:
    run.metrics.record(figures)


def _forget(run: Run, half: int, after: int) -> None:
    run.metrics.forget(half, after)


class Holder:
    """The process that holds the run, as seen from here."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.outbox = Outbox(connection)
        self.waits = False
        """Whether it waits for what comes of a work."""

    def ask(self, change: Any, *given: Any) -> Any:
        """Wait until it has made a change, and return what came of it, or raise its error."""
        self.outbox.put(ASKED, change, *given)
        kind, answer = received(self.connection)
        if kind == ANSWER:
            return answer
        raise answer


def main() -> None:
    """Do work after work, for a run, until the other end of a socket is closed or a stop is asked for.

    Given are the descriptor of the socket and the path of the run.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _serve(Holder(Connection(int(sys.argv[1]))), Path(sys.argv[2]))


def followed() -> bool:
    """Where a scheduler has started this process beside another: do what that says, to the end; False where not.

    Raises:
        UsageError: nothing says where they meet.
        StoppedOnRequest: it was asked to stop.
    """
    start = started()
    if start is None or start.rank == 0:
        return False
    talk, lifeline = called(start)
    holder = Holder(talk)
    threading.Thread(target=_heed, args=(lifeline, holder), daemon=True).start()
    _serve(holder, None, start)
    return True


def _serve(holder: Holder, run: Path | None, start: Started | None = None) -> None:
    with stoppable(run) as stop:
        try:
            # They were blocked until somebody was there to hear them.
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            while True:
                _do(holder, stop, start)
        except StoppedOnRequest:
            holder.outbox.put(STOPPED, stop.cause)
            holder.outbox.close()
            if start is not None:
                raise
        except (EOFError, OSError):
            return


def _do(holder: Holder, stop: Stop, start: Started | None) -> None:
    _, half, threads, packed, place, gpu = received(holder.connection)
    holder.waits = True
    from dynaflex.kernels import native
    from dynaflex.prepare.device import use_gpu, use_one_thread

    use_one_thread()
    if start is None:
        native.set_threads(threads)
    elif place is not None and place.device == "cuda":
        gpu = own_gpu(start)
    if gpu is not None:
        use_gpu(gpu)
    first = place is None or place.rank == 0
    listening = tell.listening(Told(holder.outbox)) if first else nullcontext()
    together = nullcontext() if place is None else joined(place, lambda: stop.requested)
    told = False
    try:
        with listening, together, spent.counted() as taken:
            try:
                result = unpacked(packed, partial(RunOfOther if first else RunOfFirst, holder))(half, stop)
            except Exception as error:
                stop.obey()
                # Before those that wait for this one notice that it is gone.
                holder.outbox.put(FAILED, portable(error))
                told = True
                raise
    except Exception as error:
        if not told:
            stop.obey()
            holder.outbox.put(FAILED, portable(error))
    else:
        holder.waits = False
        holder.outbox.put(ENDED, result if first else None, taken)


def _heed(lifeline: Connection, holder: Holder) -> None:
    """Stop when the process that was called says so, and end when it does: between two works, all is done."""
    with suppress(EOFError, OSError):
        while True:
            lifeline.recv_bytes()
            os.kill(os.getpid(), signal.SIGTERM)
    os._exit(StoppedOnRequest.exit_code if holder.waits else 0)


def _end_with_parent() -> None:
    """End when the process that started this one does: that closes standard input."""
    while os.read(0, 1):
        pass
    os._exit(StoppedOnRequest.exit_code)
