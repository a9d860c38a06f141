"""Who works on the halves of a run where several processes work on each: those named by ``--gpus``, or a scheduler's.

``torchrun`` and ``srun`` start the same command once for every rank. The first is the one that the user sees: it holds
the run, and has a worker of its own beside it. All others call it and do what it says (:func:`followed`).
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Client, Connection, Listener
from queue import Empty, SimpleQueue
from typing import Protocol

from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from dynaflex.errors import EnvironmentFault, UsageError
from dynaflex.ranks import Place
from dynaflex.run.directory import Run
from dynaflex.workers.worker import LocalWorker, RemoteWorker, Worker

_CALLED = 600.0
"""Seconds within which all ranks of a scheduler must have called."""
_KEY, _ADDRESS = "dynaflex/key", "dynaflex/address"
_LOCAL = ("localhost", "127.0.0.1")


class Crew(Protocol):
    """Processes that work together."""

    size: int
    here: int
    """How many of them are on this machine."""

    def hired(self, run: Run) -> list[Worker]:
        """All of them, in order, ready to work for a run."""

    def place(self, rank: int, size: int, work: str, device: str) -> Place:
        """The place of one of ``size`` that do a ``work`` together."""


class LocalCrew:
    """A process of this machine for each of the ``gpus``, or of the numbers where the device is the CPU."""

    def __init__(self, gpus: Sequence[int], device: str, meeting: str) -> None:
        self.gpus = [gpu if device == "cuda" else None for gpu in gpus]
        self.size = self.here = len(gpus)
        self._meeting = meeting

    def hired(self, run: Run) -> list[Worker]:
        """See :class:`Crew`."""
        # They talk to nobody else, and need no network.
        talk = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
        return [LocalWorker(run, gpu, {name: os.environ.get(name, value) for name, value in talk.items()})
                for gpu in self.gpus]  # fmt: skip

    def place(self, rank: int, size: int, work: str, device: str) -> Place:
        """See :class:`Crew`."""
        return Place(rank, size, os.path.join(self._meeting, work.replace("/", "-")), work, device)


@dataclass(frozen=True)
class Started:
    """How a scheduler has started this process: which it is of all, and of those on its machine, and where they
    meet."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    port: int


def started(environment: Mapping[str, str] = os.environ) -> Started | None:
    """How ``torchrun`` or ``srun`` has started this process; None where it is alone.

    Raises:
        UsageError: there are several, and nothing says where they meet.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if "RANK" not in environment:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
    rank, size, local = (int(environment.get(name, fallback)) for name, fallback in zip(names, "010", strict=False))
    if size < 2:
        return None
    # SLURM writes 4(x2) for two machines with four each.
    beside = int(environment.get(names[3], "1").split(",")[0].split("(")[0])
    host, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if host is None or port is None:
        raise UsageError(
            "ranks.no-meeting", f"this command was started {size} times at once, and nothing says where they meet",
            expected="MASTER_ADDR, the machine of the first, and MASTER_PORT, a free port of it, in the environment",
            fix="set both before srun, or start it with torchrun, which does; docs/cluster.md has a script",
        )  # fmt: skip
    return Started(rank, size, local, beside, host, int(port))


class ClusterCrew:
    """The processes that a scheduler has started, of which this is the first."""

    def __init__(self, start: Started, workers: dict[int, RemoteWorker], gpu: int | None) -> None:
        self.size, self.here = start.size, start.local_size
        self._start, self._workers, self._gpu = start, workers, gpu

    def hired(self, run: Run) -> list[Worker]:
        """See :class:`Crew`."""
        own: list[Worker] = [LocalWorker(run, self._gpu)]
        return own + [self._workers[rank] for rank in range(1, self.size)]

    def place(self, rank: int, size: int, work: str, device: str) -> Place:
        """See :class:`Crew`."""
        return Place(rank, size, f"{self._start.host}:{self._start.port}", work, device)


@contextmanager
def crew_of(gpus: str | Sequence[int] | None, device: str) -> Iterator[Crew | None]:
    """The crew that ``--gpus`` names, as it is typed or as numbers, or that a scheduler has started; None where this
    process is alone.

    Raises:
        UsageError: the list of GPUs is none, or a device was named beside it.
        EnvironmentFault: the GPUs are not there, or another process has not called.
    """
    start = started()
    if gpus is not None:
        numbers, kind = listed(gpus), _kind("cuda" if device == "auto" else device)
        if start is not None:
            raise UsageError(
                "gpus.twice", f"{start.size} processes were started, and each has its own GPU",
                field="--gpus", fix="leave out --gpus, or start one process",
            )  # fmt: skip
        if kind == "cuda":
            _require_gpus(numbers)
        with tempfile.TemporaryDirectory(prefix="dynaflex-") as meeting:
            yield LocalCrew(numbers, kind, meeting)
    elif start is not None:
        with _calls(start) as workers:
            yield ClusterCrew(start, workers, own_gpu(start) if _kind(device) == "cuda" else None)
    else:
        yield None


def listed(gpus: str | Sequence[int]) -> list[int]:
    """The numbers in ``0,1,3``, or these.

    Raises:
        UsageError: it is no such list.
    """
    # From Python anything may come, 2 for two of them.
    several = gpus.split(",") if isinstance(gpus, str) else gpus if isinstance(gpus, Iterable) else []
    words = [str(one) for one in several]
    if (
        not words
        or not all(word.strip().isdecimal() for word in words)
        or len({int(word) for word in words}) < len(words)
    ):
        raise UsageError(
            "gpus.list", "this is no list of GPUs", field="--gpus", expected="numbers from 0, each once, as 0,1,2,3",
            found=gpus, fix="--gpus 0,1",
        )  # fmt: skip
    return [int(word) for word in words]


def own_gpu(start: Started) -> int:
    """The GPU of a process that a scheduler has started: that of its number on its machine, or the one it was given."""
    import torch

    return start.local_rank % max(torch.cuda.device_count(), 1)


def _kind(device: str) -> str:
    """``"cuda"`` or ``"cpu"``, whichever ``--device`` comes to where several are meant.

    Raises:
        UsageError: one GPU was named.
    """
    import torch

    if ":" in device:
        raise UsageError(
            "gpus.device", "a device was named beside a list of GPUs", field="--device", expected="auto, cuda or cpu",
            found=device, fix="leave out --device",
        )  # fmt: skip
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _require_gpus(numbers: Sequence[int]) -> None:
    import torch

    there = torch.cuda.device_count()
    if max(numbers) >= there:
        raise EnvironmentFault(
            "gpus.missing", "these GPUs are not there", expected=f"GPUs {', '.join(map(str, numbers))}",
            found=f"{there} of them, counted from 0",
            fix="name those that nvidia-smi lists; or --device cpu, where each number is a process on the CPU",
        )  # fmt: skip


@contextmanager
def _calls(start: Started) -> Iterator[dict[int, RemoteWorker]]:
    """Those that have called the first process, by their ranks."""
    store = _meeting(start)
    key = secrets.token_hex(32)
    inside = start.host in _LOCAL
    with Listener(("127.0.0.1" if inside else "", 0), "AF_INET", backlog=2 * start.size, authkey=key.encode()) as door:
        store.set(_KEY, key)
        store.set(_ADDRESS, f"{start.host}:{door.address[1]}")
        callers: SimpleQueue[Connection | Exception] = SimpleQueue()
        threading.Thread(target=_answer, args=(door, 2 * (start.size - 1), callers), daemon=True).start()
        calls: dict[tuple[int, str], Connection] = {}
        names: dict[int, str] = {}
        while len(calls) < 2 * (start.size - 1):
            try:
                caller = callers.get(timeout=_CALLED)
            except Empty:
                missing = set(range(1, start.size)) - {rank for rank, _ in calls}
                raise _missing(start, f"nothing of rank {min(missing, default=0)}") from None
            if isinstance(caller, Exception):
                raise caller
            rank, kind, name = caller.recv()
            calls[rank, kind], names[rank] = caller, name
        yield {
            rank: RemoteWorker(calls[rank, "talk"], calls[rank, "lifeline"], names[rank])
            for rank in range(1, start.size)
        }
        for caller in calls.values():
            caller.close()
    del store


def _meeting(start: Started) -> Store:
    """Where all that a scheduler has started meet.

    Raises:
        EnvironmentFault: they do not.
    """
    # Without a launcher, the first has it. Who calls is waited for later.
    own = start.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)
    wait = timedelta(seconds=_CALLED)
    try:
        return TCPStore(start.host, start.port, None, own, timeout=wait, wait_for_workers=False)
    except RuntimeError as error:
        raise _missing(start, next(iter(str(error).splitlines()), None)) from error


def _missing(start: Started, found: str | None) -> EnvironmentFault:
    return EnvironmentFault(
        "ranks.missing", f"{start.size} processes were to be started, and not all can be reached",
        expected=f"all at {start.host}:{start.port} within {_CALLED:g} s", found=found,
        fix="look at what the others said; a firewall may keep machines apart, or the port be taken",
    )  # fmt: skip


def _answer(door: Listener, count: int, callers: SimpleQueue[Connection | Exception]) -> None:
    for _ in range(count):
        try:
            callers.put(door.accept())
        except Exception as error:
            callers.put(error)
            return


def called(start: Started) -> tuple[Connection, Connection]:
    """Call the first process: through the first connection it says what to do, and through the second when to stop."""
    store = _meeting(start)
    key, address = store.get(_KEY), store.get(_ADDRESS).decode()
    host, _, port = address.rpartition(":")
    talk, lifeline = (Client((host, int(port)), "AF_INET", authkey=key) for _ in range(2))
    for connection, kind in ((talk, "talk"), (lifeline, "lifeline")):
        connection.send((start.rank, kind, f"rank {start.rank} on {os.uname().nodename}"))
    return talk, lifeline
