"""The threads that call the kernels: disjoint ranges, results independent of the number of threads.

ctypes releases the interpreter lock, so plain Python threads run in parallel. Where a sum runs over points, the points
are cut into a fixed number of chunks that are summed in a fixed order: one thread or sixteen give the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from dynaflex.machine import available_cores

CHUNKS = 16


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
    return available_cores()


_threads = _default_threads()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


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
