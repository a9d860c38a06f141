"""How a cost grows: a part that is there whatever there is to do, and a part for every piece of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynaflex.shapes import Array

Cost = Array
"""Seconds and seconds of processors ``(2)``."""

NOTHING: Cost = np.zeros(2)


@dataclass(frozen=True)
class Line:
    """A cost of ``fixed + each * amount``; neither is ever negative, so that more never costs less."""

    fixed: Cost
    each: Cost

    @classmethod
    def through(cls, fewer: tuple[float, Cost], more: tuple[float, Cost]) -> Line:
        """The line through what two amounts took.

        What took less though it was more is noise of the clock, and counts as fixed; what would have taken nothing
        before it began goes through the origin, by the larger amount.
        """
        (few, small), (many, large) = fewer, more
        if many <= few:
            return cls.proportional(many, large)
        each = np.clip((large - small) / (many - few), 0.0, large / many)
        return cls(np.clip(large - each * many, 0.0, None), each)

    @classmethod
    def proportional(cls, amount: float, cost: Cost) -> Line:
        """Nothing is fixed."""
        return cls(NOTHING, cost / max(amount, 1e-9))

    def at(self, amount: float) -> Cost:
        """What an amount takes."""
        return self.fixed + self.each * amount
