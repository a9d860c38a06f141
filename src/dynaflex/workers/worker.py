"""A process that works on a half, here or on another machine, as the one that holds the run sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Protocol

from dynaflex.run.directory import Run

_PROGRAM = "from dynaflex.workers.process import main; main()"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Worker(Protocol):
    """A process that does one work after the other."""

    connection: Connection
    """Through which it is told what to do, and tells what comes of it."""

    gpu: int | None
    """The GPU that it works on, as it counts them; None where it is to take what there is."""

    def ask_to_stop(self) -> None:
        """Ask it to save what it does, and to end."""

    def end(self) -> None:
        """End it at once. Between two pieces of work it has nothing to lose, and within one it would not before."""

    def last_word(self) -> str:
        """How it ended, of one that has ended and said nothing."""


class LocalWorker:
    """A worker on this machine, started by this process, with a ``gpu`` and additions to its ``surroundings``."""

    def __init__(self, run: Run, gpu: int | None = None, surroundings: Mapping[str, str] | None = None) -> None:
        self.connection, theirs = Pipe()
        self.gpu = gpu
        program = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()), str(run.path)]
        # It shall find what this process finds, and work that stands in no package.
        paths = os.pathsep.join(path for path in sys.path if path)
        kept = [theirs.fileno()] if run.lock is None else [theirs.fileno(), run.lock]
        with _blocked(_SIGNALS):
            self.process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=kept,
                env={**os.environ, **(surroundings or {}), "PYTHONPATH": paths},
            )  # fmt: skip
        theirs.close()

    def ask_to_stop(self) -> None:
        """See :class:`Worker`."""
        self.process.terminate()

    def end(self) -> None:
        """See :class:`Worker`."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.connection.close()

    def last_word(self) -> str:
        """See :class:`Worker`."""
        code = self.process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


class RemoteWorker:
    """A worker that was started by a scheduler as ``name``, perhaps on another machine, and has called.

    Where it is asked to stop a word goes through its ``lifeline``; that is cut to end it.
    """

    def __init__(self, connection: Connection, lifeline: Connection, name: str) -> None:
        self.connection = connection
        self.gpu: int | None = None
        self._lifeline = lifeline
        self._name = name

    def ask_to_stop(self) -> None:
        """See :class:`Worker`."""
        with suppress(OSError):
            self._lifeline.send_bytes(b"stop")

    def end(self) -> None:
        """See :class:`Worker`."""
        self._lifeline.close()
        self.connection.close()

    def last_word(self) -> str:
        """See :class:`Worker`."""
        return f"({self._name}) ended or cannot be reached"


@contextmanager
def _blocked(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """What is started inside hears none of these until it says so: it would know of nothing better than to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
