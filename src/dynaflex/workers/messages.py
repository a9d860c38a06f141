"""What the process that holds a run and those that work for it on a half say to each other.

Messages are tuples whose first item says what they are. They are pickled, which no file ever is: both ends are this
program at work, of one version, and nobody else has an end of the socket between them.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from dynaflex.run.directory import Run

WORK = "work"
"""To a worker: the half, its threads, the packed work; its place among others and its GPU, where it has any."""
ANSWER, REFUSAL = "answer", "refusal"
"""To a worker that asked for a change of the run: what came of it, or the error."""
TOLD, ASKED = "told", "asked"
"""From a worker: a word for whoever listens, with its kind; a change of the run to be made, and with what."""
ENDED, FAILED, STOPPED = "ended", "failed", "stopped"
"""From a worker, last: the result with what was spent on it, the error, or what asked it to stop."""

_OFTEN = 0.1


class Outbox:
    """Sends messages in a thread of its own.

    A stop is an exception that is raised anywhere in the main thread; in the middle of a message it would leave the
    other end with half of one.
    """

    def __init__(self, connection: Connection) -> None:
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._send, args=(connection,), daemon=True)
        self._thread.start()

    def put(self, *message: object) -> None:
        """Send a message after those that were put before."""
        self._waiting.put(pickle.dumps(message))

    def close(self) -> None:
        """Wait until all is sent."""
        self._waiting.put(None)
        self._thread.join()

    def _send(self, connection: Connection) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                connection.send_bytes(message)
            except OSError:
                return  # Nobody is there to read it any more, and this process is about to end.


class Told:
    """Passes on what is told in a worker; of progress not more than a person can see."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._passed: dict[str, float] = {}

    def say(self, message: str) -> None:
        """Pass it on."""
        self._outbox.put(TOLD, "say", message)

    def note(self, message: str) -> None:
        """Pass it on."""
        self._outbox.put(TOLD, "note", message)

    def warn(self, message: str) -> None:
        """Pass it on."""
        self._outbox.put(TOLD, "warn", message)

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None:
        """Pass the first word of a task on, the last, and what lies between some times a second."""
        now, ends = time.monotonic(), total is not None and done >= total
        if ends or now - self._passed.get(task, -1.0) >= _OFTEN:
            self._passed[task] = now
            self._outbox.put(TOLD, "progress", task, done, total, figures)


View = Callable[[Path, str | None], Run]
"""How a process sees a run that another one holds, from its path and identity."""


class _Packer(pickle.Pickler):
    """Packs a run as its path and identity."""

    def persistent_id(self, obj: object) -> tuple[Path, str | None] | None:
        return (obj.path, obj.identity) if isinstance(obj, Run) else None


class _Unpacker(pickle.Unpickler):
    def __init__(self, work: bytes, view: View) -> None:
        super().__init__(io.BytesIO(work))
        self._view = view

    def persistent_load(self, pid: tuple[Path, str | None]) -> Run:
        return self._view(*pid)


class NotPortable(Exception):
    """Work that cannot go to another process."""


def packed(work: object) -> bytes:
    """Work for another process.

    Raises:
        NotPortable: something in it cannot be pickled, as a function that has no name.
    """
    buffer = io.BytesIO()
    try:
        _Packer(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotPortable(str(error)) from error
    return buffer.getvalue()


def unpacked(work: bytes, view: View) -> Any:
    """Work of another process, in which its run is what ``view`` gives."""
    return _Unpacker(work, view).load()


def send(connection: Connection, *message: object) -> None:
    """Send a message from the main thread; to one that is gone nothing is sent, which is noticed when it is heard."""
    with suppress(OSError):
        connection.send_bytes(pickle.dumps(message))


def received(connection: Connection) -> tuple[Any, ...]:
    """The next message.

    Raises:
        EOFError, OSError: the other end is gone.
    """
    message: tuple[Any, ...] = pickle.loads(connection.recv_bytes())
    return message


def portable(error: Exception) -> Exception:
    """An error that another process can raise, with the place where it was raised in this one."""
    where = f"in another process:\n{traceback.format_exc()}"
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(where)
    return error
