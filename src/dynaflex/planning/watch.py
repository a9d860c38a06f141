"""What is seen of work that is measured: what a piece takes, and what one half takes that stands for both."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from dynaflex import spent
from dynaflex.costs.laws import NOTHING, Cost
from dynaflex.spent import Spent
from dynaflex.workers.halves import T, Work, in_turn


def cost_of(stage: spent.Stage, one: Spent) -> Cost:
    """What a stage has taken."""
    return np.array([one.seconds.get(stage, 0.0), one.cpu_seconds.get(stage, 0.0)])


def now() -> Cost:
    """The time."""
    return np.array([time.monotonic(), time.process_time()])


class Rates:
    """Hears how far a task is, and knows what a piece of it takes: the median of what lay between two words.

    What is done beside the pieces, before the first or between two sweeps over them, is between few of the words.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self.total = 0.0
        self._seen: dict[str, tuple[float, Cost]] = {}
        self._each: list[Cost] = []

    def say(self, message: str) -> None:
        """Nothing."""

    note = warn = say

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None:
        """Note when the task came so far."""
        if not task.startswith(self.task) or total is None:
            return
        here = now()
        before, then = self._seen.get(task, (done, here))
        if done > before:
            self._each.append((here - then) / (done - before))
        self._seen[task], self.total = (done, here), total

    def each(self) -> Cost:
        """What a piece takes."""
        return np.median(self._each, axis=0) if self._each else NOTHING


class OnlyOne:
    """Does the work of the first half only, and gives it for all: what is made is not looked at. It knows what that one
    took, ``half``, as others would have taken it too."""

    def __init__(self) -> None:
        self.half = NOTHING

    def __call__(self, work: Work[T], halves: Sequence[int], memory: int) -> dict[int, T]:
        """As :class:`dynaflex.workers.halves.Each`."""
        began = now()
        found = in_turn(work, halves[:1], memory)[halves[0]]
        self.half = self.half + now() - began
        return dict.fromkeys(halves, found)
