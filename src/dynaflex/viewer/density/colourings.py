"""What surfaces can be coloured by: the displacement, and maps of the run that belong to the material at rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from dynaflex.errors import UsageError
from dynaflex.palettes import limits_of
from dynaflex.run.directory import Run
from dynaflex.run.files import MOTION, has_map, read_map, read_motion
from dynaflex.run.watched import state_of
from dynaflex.shapes import BoolArray, FloatArray
from dynaflex.viewer.density.window import Window

DISPLACEMENT = "displacement"
_SPREAD = "rms_displacement"
_LABELS = {DISPLACEMENT: "displacement", _SPREAD: "displacement, rms over particles",
           "deformation_error": "uncertainty of the motion", "local_resolution": "local resolution"}  # fmt: skip
_MAPS = ("deformation_error", "local_resolution")


@dataclass(frozen=True)
class Range:
    """A quantity in Å: ``low`` and ``high`` suit a scale of colours, ``least`` and ``most`` hold all its values."""

    identifier: str
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, identifier: str, values: FloatArray) -> Range:
        """The range of the values ``(n)`` that are seen; see :func:`limits_of`."""
        low, high = limits_of(identifier, values)
        least = min(low, float(values.min(initial=low)))
        return cls(identifier, low, high, least, max(float(values.max(initial=high)), high))

    def header(self) -> dict[str, Any]:
        """What the page needs to draw a scale."""
        return {**listed(self.identifier), "low": self.low, "high": self.high}

    @property
    def limits(self) -> tuple[float, float]:
        """Between which values are sent."""
        return self.least, self.most


def listed(identifier: str) -> dict[str, str]:
    """A quantity for the page's menus: ``id``, ``label`` and ``unit``.

    Raises:
        KeyError: there is no such quantity.
    """
    return {"id": identifier, "label": _LABELS[identifier], "unit": "Å"}


class ColourMaps:
    """What a run says about every place of the molecule at rest: maps, and how far its points move, over particles."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._read = lru_cache(maxsize=8)(self._read_map)
        self._spread = lru_cache(maxsize=4)(self._read_spread)
        self._points = lru_cache(maxsize=1)(self._read_points)

    def names(self) -> list[str]:
        """Those that exist."""
        spread = [_SPREAD] if self._points(state_of(self.run.path / MOTION)) is not None else []
        return [*spread, *(name for name in _MAPS if has_map(self.run, name))]

    def within(self, identifier: str, window: Window) -> FloatArray:
        """A quantity ``(d d d)`` in a window. Where a map says nothing (it is 0 there), the nearest voxel speaks.

        Raises:
            KeyError: there is no such map.
        """
        if identifier not in self.names():
            raise KeyError(identifier)
        if identifier == _SPREAD:
            return self._spread(window, state_of(self.run.path / MOTION))
        return self._read(identifier, window, state_of(self.run.maps / f"{identifier}.mrc"))

    def _read_map(self, identifier: str, window: Window, _version: object) -> FloatArray:
        values = read_map(self.run, identifier).data
        share = window.sampled((values > 0).astype(np.float32))
        known: BoolArray = share > 0.5
        if not known.any():
            return np.zeros_like(share)
        found = window.sampled(values) / np.maximum(share, np.float32(0.5))
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        return np.asarray(found[tuple(nearest)], dtype=np.float32)

    def _read_spread(self, window: Window, version: object) -> FloatArray:
        """How far the nearest of the points that are known moves, in every voxel."""
        known = self._points(version)
        assert known is not None
        places, moves = known
        nearest = cKDTree(places).query(window.points().numpy())[1]
        return moves[nearest].reshape((window.grid.box,) * 3)

    def _read_points(self, _version: object) -> tuple[FloatArray, FloatArray] | None:
        """Points ``(n 3)`` and how far each moves, rms over particles, ``(n)`` in Å; None if that is not known."""
        try:
            motion = read_motion(self.run)
        except UsageError:
            return None
        return motion.points, motion.rms_displacement
