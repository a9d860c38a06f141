"""Whether anybody is near: how many particles stand behind a conformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from dynaflex.shapes import Array, FloatArray

_RARE = 99.9
_LEAST = 0.1
_ASKED = 2000


@dataclass(frozen=True)
class Neighbourhood:
    """The surroundings of places among ``points`` ``(p k)``: all within ``radius``.

    That is the distance within which all but one in a thousand of the points have another one, and at least a tenth of
    how far the points spread, rms.
    """

    points: FloatArray
    radius: float

    @classmethod
    def of(cls, points: FloatArray) -> Neighbourhood:
        """The neighbourhood that suits the points; of many, 2,000 are asked for their nearest."""
        if len(points) < 2:
            return cls(points, 0.0)
        asked = points[:: -(-len(points) // _ASKED)]
        nearest = cKDTree(points).query(asked, k=2)[0][:, 1]
        spread = float(np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=1).mean()))
        return cls(points, max(float(np.percentile(nearest, _RARE)), _LEAST * spread))

    def count(self, place: Array | FloatArray) -> int:
        """How many of the points lie around a place ``(k)``."""
        return int((np.square(self.points - place).sum(axis=1) <= self.radius**2).sum())
