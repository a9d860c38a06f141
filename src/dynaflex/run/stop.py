"""Stopping on request: signals and RELION's abort file, at a place where nothing is lost.

Every command can be stopped, from its first moment; what works in a run watches its folder too, and can be resumed. A
stop raises :class:`StoppedOnRequest` at once, wherever the program is: every file is written so that it is whole or
not there. Training asks to :meth:`Stop.hold` it until the batch is done, so that the batch can be saved; it is not held
for longer than ``PATIENCE``.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import FrameType

from dynaflex.errors import StoppedOnRequest
from dynaflex.run.repeat import repeating

PATIENCE = 20.0
"""Seconds that a stop can be held off."""

ABORT = "RELION_JOB_ABORT_NOW"
EXITS = SUCCESS, FAILURE, ABORTED = "RELION_JOB_EXIT_SUCCESS", "RELION_JOB_EXIT_FAILURE", "RELION_JOB_EXIT_ABORTED"
_RELION_JOB = ("job.star", "run.job", "job_pipeline.star")
_LOOK = 1.0


class Stop:
    """Whether a stop was asked for, by what, and whether it has to wait."""

    def __init__(self, folder: Path | None = None, remedy: str | None = None) -> None:
        self.cause: str | None = None
        self._folder = folder
        self._remedy = remedy
        self._interrupts = 0
        self._held = False
        self._deaf = False

    @property
    def requested(self) -> bool:
        """True once somebody has asked."""
        return self.cause is not None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While inside, a request waits for :meth:`obey`; leaving obeys it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.obey()

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """While inside, no request is heard, not even a second: for what is quick, and must not be left half done.
        Leaving obeys it."""
        self._deaf = True
        try:
            yield
        finally:
            self._deaf = False
        self.obey()

    def obey(self) -> None:
        """Stop here, if that was asked for.

        Raises:
            StoppedOnRequest: it was.
        """
        if self.requested:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            remedy = self._remedy if self._folder is not None and _is_run(self._folder) else None
            raise StoppedOnRequest("run.stopped", f"stopped by {self.cause}", fix=remedy)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            self._note(number)
        late = number == signal.SIGALRM or self._interrupts > 1
        if not self._deaf and (late or not self._held):
            self.obey()

    def _note(self, number: int) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 2:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGINT)
        self.cause = self.cause or signal.Signals(number).name
        if signal.getitimer(signal.ITIMER_REAL)[0] == 0.0:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)


@contextmanager
def stoppable(folder: Path | None = None, remedy: str | None = None) -> Iterator[Stop]:
    """While inside, SIGINT and SIGTERM ask for a stop. For work in the run at ``folder`` SIGUSR1 and an abort file in
    it do too, and SIGHUP is not heard: a run must outlive the terminal that it was started from.

    Where the run was begun the stop tells the ``remedy``. A second SIGINT does not wait for a save, a third ends the
    process. Outside the main thread there are no signals to be had, and nothing asks.
    """
    stop = Stop(folder, remedy)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    asks = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM]
    before = {number: signal.signal(number, stop._on_signal) for number in asks}
    if folder is not None:
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, stop._on_signal)
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with nullcontext() if folder is None else repeating(_LOOK, partial(_look_for_abort, folder, stop)):
            yield stop
    except Exception:
        # A library that was stopped in the middle may make an error of its own of it.
        stop.obey()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_run(folder: Path) -> bool:
    # What works in a run has loaded this long ago; what does not need not.
    from dynaflex.run.directory import CONFIG

    return (folder / CONFIG).exists()


def _look_for_abort(folder: Path, stop: Stop) -> None:
    if not stop.requested and (folder / ABORT).exists():
        stop.cause = ABORT
        os.kill(os.getpid(), signal.SIGUSR1)


def is_job(folder: Path) -> bool:
    """True for the folder of one of RELION's jobs."""
    return any((folder / name).exists() for name in _RELION_JOB)


def unmark(folder: Path) -> None:
    """Take away what a job that was here before said of its end."""
    for name in EXITS:
        (folder / name).unlink(missing_ok=True)


def mark(folder: Path, name: str) -> None:
    """Say with the one of ``EXITS`` that is called ``name`` how the job in ``folder`` ended; an abort is answered."""
    (folder / name).touch()
    (folder / ABORT).unlink(missing_ok=True)


@contextmanager
def exit_markers(folder: Path) -> Iterator[None]:
    """Tell RELION, where ``folder`` is one of its jobs, how the job ended; an abort file is answered anywhere."""
    unmark(folder)
    try:
        yield
    except StoppedOnRequest:
        _mark_if_asked(folder, ABORTED)
        raise
    except Exception:
        _mark_if_asked(folder, FAILURE)
        raise
    _mark_if_asked(folder, SUCCESS)


def _mark_if_asked(folder: Path, name: str) -> None:
    if is_job(folder) or (folder / ABORT).exists():
        with suppress(OSError):
            mark(folder, name)
