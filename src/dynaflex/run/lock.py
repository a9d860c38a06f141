"""One process at a time in a run directory, and no lock that outlives its process for long.

On one machine the kernel keeps the lock (``flock``) and gives it back when the process ends, however it ends. What
cannot be seen from another machine stands in the file: who holds the lock, and by the file's time a sign of life.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dynaflex.errors import EnvironmentFault, RunBusyError
from dynaflex.io import durable
from dynaflex.run.repeat import repeating

HEARTBEAT = 30.0
"""Seconds between two signs of life."""

SILENT = 600.0
"""Seconds without one after which a lock of another machine may be broken by hand."""

ENDING = 10.0
"""Seconds that those who worked for a process that is gone may take to notice: they keep its lock until they end."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. ``start`` and ``boot`` tell a process from a later one that was given the same ``pid``."""

    pid: int = 0
    host: str = ""
    since: str = ""
    boot: str = ""
    start: str = ""

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(os.getpid(), socket.gethostname(), since, _boot(), _start_of(os.getpid()))

    def is_elsewhere(self) -> bool:
        """True if it is on another machine, where nobody can see from here whether it lives."""
        return bool(self.host) and self.host != socket.gethostname()

    def is_dead(self) -> bool:
        """True if it was a process of this machine, and is no more."""
        if self.is_elsewhere():
            return False
        if self.boot and self.boot != _boot():
            return True
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            return False
        return bool(self.start) and self.start != _start_of(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another process"


def holder(path: Path) -> Holder | None:
    """Who holds the lock ``path``, or held it when it died; None if it is free.

    A file that is not a lock's is that of nobody who could be asked.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        known = {field.name for field in fields(Holder)}
        return Holder(**{name: value for name, value in json.loads(text).items() if name in known})
    except (ValueError, TypeError, AttributeError):
        return Holder()


def heartbeat_age(path: Path) -> float:
    """Seconds since the last sign of life; never negative, whatever the clocks say."""
    return max(0.0, time.time() - path.stat().st_mtime)


@contextmanager
def locked(path: Path, notice: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock ``path``. One that a dead process of this machine left is taken over, and ``notice`` says so.

    The kernel keeps the lock as long as the descriptor, which this gives, is open in any process.

    Raises:
        RunBusyError: another process holds it.
        EnvironmentFault: its file cannot be written.
    """
    try:
        descriptor, by_kernel = _open(path)
    except OSError as error:
        raise EnvironmentFault(
            "run.unwritable",
            f"the run directory cannot be written: {error.strerror}",
            file=path.parent,
            fix="make it writable, or choose another directory with -o",
        ) from error
    try:
        before = holder(path) if os.fstat(descriptor).st_size else None
        if before is not None:
            if before.is_elsewhere() or not (by_kernel or before.is_dead()):
                raise _busy(path, before)
            notice(f"{before} had locked this run and is gone; its lock was taken over")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(Holder.me())).encode(), 0)
        os.fsync(descriptor)

        def beat() -> None:
            with suppress(OSError):
                os.utime(descriptor)

        try:
            with repeating(HEARTBEAT, beat):
                yield descriptor
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def break_lock(path: Path) -> Holder | None:
    """Remove the lock of a machine that is gone; None if there is none.

    Raises:
        RunBusyError: its process lives, or showed a sign of life within the last ten minutes.
    """
    before = holder(path)
    if before is None:
        return None
    if before.is_elsewhere() and heartbeat_age(path) < SILENT:
        raise _busy(path, before)
    if not before.is_elsewhere() and not before.is_dead():
        raise _busy(path, before)
    path.unlink(missing_ok=True)
    return before


def _open(path: Path) -> tuple[int, bool]:
    """The lock file, held; and whether the kernel holds it, which some network file systems do not do.

    Whoever let it go removed the file, so the one that was opened may no longer be the one at ``path``.
    """
    last = time.monotonic() + ENDING
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            taken = durable.taken(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if taken is None or (taken and _is_at(descriptor, path)):
            return descriptor, bool(taken)
        os.close(descriptor)
        if not taken:
            by = _holder_soon(path)
            if not by.is_dead() or time.monotonic() > last:
                raise _busy(path, by)
            time.sleep(0.02)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder_soon(path: Path) -> Holder:
    """Who has just taken the lock: it may not have signed yet."""
    for _ in range(50):
        found = holder(path)
        if found is None or found.pid:
            break
        time.sleep(0.01)
    return found or Holder()


def _busy(path: Path, by: Holder) -> RunBusyError:
    try:
        age = f"last sign of life {heartbeat_age(path):.0f} s ago"
    except OSError:
        age = "it has just ended"
    if by.is_elsewhere():
        fix = f"wait for it; if {by.host} is gone: dynaflex doctor {path.parent} --force-unlock"
    else:
        fix = f"wait for it, or stop it: kill {by.pid}"
    return RunBusyError("run.busy", f"{by} is working in this run since {by.since} ({age})", file=path.parent, fix=fix)


def _boot() -> str:
    """What changes with every start of this machine; empty where it cannot be asked."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """When a process began, in ticks since the machine's start; empty where it cannot be asked."""
    try:
        # The name, in brackets, may hold blanks; the start is the 20th field after it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
