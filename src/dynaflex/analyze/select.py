"""Which points of a plane or a space a person means: inside a drawn outline, inside a box."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dynaflex.shapes import Array, BoolArray


def inside_polygon(points: Array, polygon: Array) -> BoolArray:
    """Whether points ``(p 2)`` lie inside a closed polygon with corners ``(v 2)``, ``(p)``.

    A place is inside if a ray from it crosses the outline an odd number of times: where the outline crosses itself,
    what it goes round twice is outside. Points that are not numbers are outside.
    """
    inside = np.zeros(len(points), dtype=bool)
    x, y = points.T
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        between = (y1 > y) != (y2 > y)
        if y1 != y2:
            inside ^= between & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def inside_box(points: Array, ranges: Mapping[int, tuple[float, float]]) -> BoolArray:
    """Whether points ``(p k)`` lie in the ``ranges`` given for some of their coordinates, ends included, ``(p)``."""
    inside = np.ones(len(points), dtype=bool)
    for axis, (low, high) in ranges.items():
        inside &= (points[:, axis] >= low) & (points[:, axis] <= high)
    return inside
