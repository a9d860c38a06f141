"""The compiled library and the threads that call it: disjoint ranges, results independent of the number of threads.

ctypes releases the interpreter lock, so plain Python threads run in parallel. Where a sum runs over points, the points
are cut into a fixed number of chunks that are summed in a fixed order: one thread or sixteen give the same bits.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch

from dynaflex.shapes import Tensor

CHUNKS = 16


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where the package was installed without a compiler."""
    path = Path(__file__).parents[1] / "_native.so"
    return ctypes.CDLL(str(path)) if path.exists() else None


def set_threads(count: int) -> None:
    """How many threads the kernels use; at first ``OMP_NUM_THREADS``, or all cores this process may run on."""
    global _threads
    _threads = max(1, count)


def threads() -> int:
    """How many threads the kernels use."""
    return _threads


def _default_threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = _default_threads()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def call(name: str, arguments: Sequence[Tensor | int]) -> None:
    """Call a kernel; tensors go as pointers to their first element, so they have to be contiguous."""
    pointers = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_int64(a) for a in arguments]
    getattr(library(), name)(*pointers)


def parallel(work: Callable[[int], None], count: int) -> None:
    """Run ``work(0) ... work(count - 1)`` on the kernels' threads."""
    most = min(_threads, count)
    if most <= 1:
        for i in range(count):
            work(i)
    else:
        list(_pool(most).map(work, range(count)))


def ranges(total: int, parts: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(total)`` into at most ``parts`` ranges whose ends are multiples of ``multiple``."""
    step = -(-total // parts)
    step = max(-(-step // multiple) * multiple, 1)
    return [(start, min(start + step, total)) for start in range(0, total, step)]
