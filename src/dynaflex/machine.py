"""What of this machine this process may use: cores and memory, as a scheduler or a container leaves them, and disks.

A control group limits what everything in it uses together, and so do those that it lies in.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_MEMORY = Path("/proc/meminfo")
_RAN_OUT = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
)
"""What torch says in errors that have no class of their own."""


def available_cores() -> int:
    """The cores that this process may run on, and no more than a control group lets it keep busy; at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([float(allowed), *_quotas()])))


def ran_out_of_memory(error: BaseException) -> bool:
    """True if an error says that the memory of this machine, or of one of its devices, holds no more."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or (isinstance(error, RuntimeError) and any(words in str(error) for words in _RAN_OUT))


def available_memory() -> int | None:
    """Bytes that can be had without swapping; None where this machine does not say."""
    try:
        lines = dict(line.split(":") for line in _MEMORY.read_text().splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, LookupError):
        return None
    return max(0, min([free, *_memory_left()]))


def free_disk(path: Path) -> tuple[int | None, Path]:
    """Bytes that are free on the disk of a file or folder that need not be there yet, and the folder that is there.

    None for what has no size at all and is no disk; that it cannot be written to is said when that is tried.
    """
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    disk = shutil.disk_usage(there)
    return disk.free if disk.total else None, there


def _quotas() -> Iterator[float]:
    """How many cores each control group has time for."""
    for group in _groups(""):
        yield from _ratio(_numbers(group / "cpu.max"))
    for group in _groups("cpu"):
        yield from _ratio(_numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us"))


def _ratio(numbers: list[int]) -> Iterator[float]:
    if len(numbers) == 2 and min(numbers) > 0:
        yield numbers[0] / numbers[1]


def _memory_left() -> Iterator[int]:
    """Bytes that each control group has left; what it keeps of files it gives back."""
    for controller, limit, usage in (
        ("", "memory.max", "memory.current"), ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):  # fmt: skip
        for group in _groups(controller):
            most, used = _numbers(group / limit), _numbers(group / usage)
            if most and used:
                yield most[0] - used[0] + _kept_of_files(group / "memory.stat")


def _kept_of_files(path: Path) -> int:
    try:
        entries = dict(line.split() for line in path.read_text().splitlines())
        return int(entries.get("total_inactive_file", entries.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process is in: its own, and those around it.

    ``controller`` is one of version 1, which has a tree for each; empty for version 2, which has one tree. Inside a
    container the own one may be the root of what is to be seen, whatever it is called outside.
    """
    try:
        lines = [line.split(":", 2) for line in _OWN.read_text().splitlines()]
    except OSError:
        return
    for number, controllers, name in (line for line in lines if len(line) == 3):
        if controller in controllers.split(",") and (controller or number == "0"):
            root = _CGROUPS / controller
            own = root / name.lstrip("/")
            yield from (group for group in (own, *own.parents) if group.is_relative_to(root) and group.is_dir())


def _numbers(path: Path) -> list[int]:
    """The numbers in a file of a control group; none where there is no limit, or no such file."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []
