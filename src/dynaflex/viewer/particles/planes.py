"""Planes that particles are plotted in: which conformation a place in one stands for, and where a conformation lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynaflex.shapes import Array, FloatArray, IntArray
from dynaflex.viewer.particles.columns import numbered
from dynaflex.viewer.particles.motion import Motion
from dynaflex.viewer.particles.neighbourhood import Neighbourhood
from dynaflex.viewer.particles.table import ParticleTable

NEAREST = 8
"""How many particles stand for a place that has no latents of its own."""
_SEARCHED = 50_000


@dataclass(frozen=True)
class Conformation:
    """``latents`` ``(k)``, and how many particles of the half are ``near``: within ``radius``, which has a ``unit``."""

    latents: FloatArray
    near: int
    radius: float
    unit: str

    @property
    def within(self) -> str:
        """The radius in words."""
        return f"{self.radius:.2g} {self.unit}".strip()


class Planes:
    """The planes of two columns each. Along latents and components a place has latents; along motion and layouts it has
    none, and the nearest particles stand for it. There is no ``motion`` where there is no model."""

    def __init__(self, particles: ParticleTable, motion: Motion | None) -> None:
        self.particles, self.motion = particles, motion
        self._around: dict[tuple[int, tuple[str, ...]], Neighbourhood] = {}

    def values(self, name: str) -> FloatArray:
        """A column ``(N)`` of the particles; NaN where one has no such number, or none yet.

        Raises:
            KeyError: there is no such column.
        """
        axis = self._motion_axis(name)
        return self.particles.values(name) if axis is None else self._moving.values[:, axis]

    def of(self, half: int, latents: FloatArray) -> Conformation:
        """The conformation of latents ``(k)`` of a half."""
        around = self._neighbourhood(half, ())
        return Conformation(latents, around.count(latents), around.radius, "σ")

    def at(self, half: int, names: tuple[str, str], point: tuple[float, float]) -> Conformation:
        """The conformation at a point of the plane of two columns.

        Its latents are the mean of those of the eight nearest particles of the half. Axes of latent space are then
        followed to the point, which leaves the other directions as they are.

        Raises:
            KeyError: a column is not an axis.
        """
        units = [self._unit(name) for name in names]
        mine, places = self._in_plane(half, names)
        nearest = mine[_smallest(np.square(places - np.asarray(point)).sum(axis=1))]
        z = self.particles.mean[nearest].mean(axis=0).astype(np.float64)
        if units != ["σ", "σ"]:
            around = self._neighbourhood(half, names)
            unit = units[0] if units[0] == units[1] else ""
            return Conformation(z.astype(np.float32), around.count(np.asarray(point)), around.radius, unit)
        directions, origins = zip(*(self.particles.axis(half, name) for name in names), strict=True)
        z += np.linalg.lstsq(np.stack(directions), point - (np.stack(directions) @ z + origins), rcond=None)[0]
        return self.of(half, z.astype(np.float32))

    def places(self, half: int, names: tuple[str, str], latents: FloatArray) -> FloatArray:
        """Where latents ``(m k)`` of a half lie in the plane of two columns, ``(m 2)``.

        In a layout that is where the eight particles with the nearest latents lie on average, of at most 50,000.

        Raises:
            KeyError: a column is not an axis.
        """
        return np.stack([self._along(half, name, latents) for name in names], axis=1).astype(np.float32)

    def _along(self, half: int, name: str, latents: FloatArray) -> Array:
        """Where latents ``(m k)`` lie along an axis, ``(m)``."""
        axis = self._motion_axis(name)
        if axis is not None:
            return self._moving.coordinates(half, latents)[:, axis]
        if self._unit(name) == "σ":
            direction, origin = self.particles.axis(half, name)
            return np.asarray(latents @ direction + origin)
        mine = self.particles.of_half(half)
        mine = mine[:: -(-len(mine) // _SEARCHED)]
        values, known = self.particles.values(name)[mine], self.particles.mean[mine]
        return np.array([values[_smallest(np.square(known - z).sum(axis=1))].mean() for z in latents])

    def _in_plane(self, half: int, names: tuple[str, ...]) -> tuple[IntArray, FloatArray]:
        """The particles of a half ``(p)`` whose place in a plane is known, and it ``(p d)``; without names, latents."""
        mine = self.particles.of_half(half)
        columns = [self.values(name) for name in names] or list(self.particles.mean.T)
        places = np.stack([column[mine] for column in columns], axis=1)
        known = np.isfinite(places).all(axis=1)
        return mine[known], places[known]

    def _neighbourhood(self, half: int, names: tuple[str, ...]) -> Neighbourhood:
        if self.motion is not None and self.motion.share < 1.0 and names:
            return Neighbourhood.of(self._in_plane(half, names)[1])
        if (half, names) not in self._around:
            self._around[half, names] = Neighbourhood.of(self._in_plane(half, names)[1])
        return self._around[half, names]

    @property
    def _moving(self) -> Motion:
        assert self.motion is not None
        return self.motion

    def _motion_axis(self, name: str) -> int | None:
        return None if self.motion is None else numbered(name, "motion", self.motion.values.shape[1])

    def _unit(self, name: str) -> str:
        """The unit of an axis: σ in latent space, Å of motion, none in a layout.

        Raises:
            KeyError: the column is not an axis.
        """
        if self._motion_axis(name) is not None:
            return "Å"
        if any(column.identifier == name and column.kind == "layout" for column in self.particles.analysed.columns):
            return ""
        self.particles.axis(self.particles.halves[0], name)
        return "σ"


def _smallest(values: Array | FloatArray) -> IntArray:
    """The places of the eight smallest values, or of all there are."""
    return np.asarray(np.argpartition(values, min(NEAREST, len(values)) - 1)[:NEAREST])
