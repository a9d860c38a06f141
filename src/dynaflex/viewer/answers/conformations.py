"""Conformations that the page asks for: of a place, of latents, along a path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynaflex.analyze.trajectory import dense_path, dense_path_through
from dynaflex.errors import UsageError
from dynaflex.results.volumes import along_axis
from dynaflex.run.files import has_map
from dynaflex.shapes import Array, FloatArray
from dynaflex.viewer.answers.stage import Stage
from dynaflex.viewer.answers.volumes import pack_volume
from dynaflex.viewer.answers.wire import pack
from dynaflex.viewer.density.colourings import DISPLACEMENT
from dynaflex.viewer.density.decoder import SIZES, Decoder
from dynaflex.viewer.particles.columns import numbered
from dynaflex.viewer.particles.planes import Conformation

_LONGEST_PATH = 400
_MOST_STOPS = 40


class Conformations:
    """The answers to questions about the conformations of one stage of a run."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.particles = stage.particles

    def of(self, half: int, latents: FloatArray) -> Conformation:
        """The conformation of latents ``(k)``.

        Raises:
            UsageError: the latents are not of this run.
        """
        self._require(latents[None])
        return self.stage.planes.of(self._known(half), latents)

    def along(self, half: int, latents: FloatArray) -> list[Conformation]:
        """The conformations of latents ``(f k)``.

        Raises:
            UsageError: the latents are not of this run, or too few or too many.
        """
        _require_frames(len(latents))
        self._require(latents)
        return [self.stage.planes.of(self._known(half), z) for z in latents]

    def at(self, half: int, names: tuple[str, str], point: tuple[float, float]) -> Conformation:
        """The conformation at a point of the plot; see :meth:`Planes.at`."""
        return self.stage.planes.at(self._known(half), names, point)

    def places(self, half: int, names: tuple[str, str], latents: FloatArray) -> list[list[float]]:
        """Where latents ``(m k)`` lie in the plot; see :meth:`Planes.places`.

        Raises:
            UsageError: the latents are not of this run.
        """
        self._require(latents)
        return _plain(self.stage.planes.places(self._known(half), names, latents))

    def nearest(self, half: int, latents: FloatArray, count: int) -> list[int]:
        """The rows in the input table of the particles of a half with the nearest latents, the nearest first.

        Raises:
            UsageError: the latents are not of this run.
        """
        self._require(latents[None])
        mine = self.particles.of_half(self._known(half))
        away = np.square(self.particles.mean[mine] - latents).sum(axis=1)
        return [int(row) for row in self.particles.rows[mine[np.argsort(away, kind="stable")[:count]]]]

    def path_along(self, half: int, axis: str, frames: int) -> list[list[float]]:
        """Latents of a half along an axis of motion, through the middle of its particles from the 2nd to the 98th
        percentile; or along a component, from -2 to +2 standard deviations.

        Raises:
            UsageError: there is no such axis, or too many frames are asked for.
        """
        _require_frames(frames)
        half, motion = self._known(half), self.stage.motion
        number = None if motion is None else numbered(axis, "motion", len(motion.columns()))
        if motion is not None and number is not None:
            return _plain(motion.path(half, number, frames))
        component = numbered(axis, "component", self.particles.mean.shape[1])
        if component is None:
            raise UsageError("view.axis", "no path leads along this", expected="an axis of motion, or a component")
        return _plain(along_axis(self.stage.trained(half).latents.mean, component, frames).numpy())

    def dense_path(self, half: int, frames: int, stops: FloatArray) -> list[list[float]]:
        """Latents along a path where the particles of a half are dense, by way of ``stops`` ``(s k)``, or, if there are
        none, from one end of the first component to the other.

        Raises:
            UsageError: the stops are not of this run, or only one, or too many frames or stops are asked for.
        """
        _require_frames(frames)
        mine = self.particles.of_half(self._known(half))
        latents = self.particles.mean[mine].astype(np.float64)
        if not len(stops):
            return _plain(dense_path(latents, self.particles.values("component1")[mine].astype(np.float64), frames))
        if not 2 <= len(stops) <= _MOST_STOPS:
            raise UsageError("view.stops", "no path leads that way", expected=f"2 to {_MOST_STOPS} places")
        self._require(stops)
        return _plain(dense_path_through(latents, stops.astype(np.float64), frames))

    def packed(
        self, half: int, shown: Conformation, size: str, colour: str | None = DISPLACEMENT, more: tuple[str, ...] = ()
    ) -> bytes:
        """A message with the density as uint16 and a colour as uint8, cropped to where there is any; see pack_volume.

        It is ``made`` of the corrected ``map`` or, before there is one, of what the ``model`` was trained to. ``more``
        can name ``arrows``, where arrows begin and how far they go, ``(n 6)``, and ``parts``, where the Gaussians or
        vertices are, ``(n 3)``; both x, y, z in Å as float32.

        Raises:
            UsageError: there is no such size.
            KeyError: there is no such colour, or nothing more of that name.
        """
        if size not in SIZES:
            raise UsageError("view.latents-shape", "there is no such size", expected=" or ".join(SIZES))
        decoder = self.stage.decoder(half)
        found = decoder.conformation(shown.latents, size, colour)
        header = {
            "z": [float(value) for value in shown.latents],
            "half": half,
            "level": decoder.level,
            "side": decoder.side,
            "largest": decoder.largest,
            "made": "map" if has_map(self.stage.run, f"map_half{half}") else "model",
            "near": shown.near,
            "within": shown.within,
        }
        coloured = None if found.quantity is None or colour is None else (found.quantity, decoder.range_of(colour))
        layers = {name: _MORE[name](decoder, shown.latents) for name in more}
        return pack_volume(header, found.density, found.window, coloured, layers)

    def parts(self, half: int) -> bytes:
        """A message with the Gaussians or the mesh at rest; see :class:`Parts`. Each also has what the maps say there.

        ``layers`` names the arrays; those of the maps are float32 ``(n)``.

        Raises:
            KeyError: the model has neither.
        """
        decoder = self.stage.decoder(self._known(half))
        if decoder.parts is None:
            raise KeyError("parts")
        layers = decoder.parts.arrays() | {name: decoder.at_parts(name) for name in decoder.colours.names()}
        return pack({**decoder.parts.header(), "half": half, "layers": list(layers)}, *layers.values())

    def _known(self, half: int) -> int:
        if half not in self.particles.halves:
            raise UsageError("view.half", f"no half {half}", expected="1 or 2")
        return half

    def _require(self, latents: FloatArray) -> None:
        expected = self.particles.mean.shape[1]
        if latents.ndim != 2 or latents.shape[1] != expected or not np.isfinite(latents).all():
            raise UsageError("view.latents-shape", "this is no conformation of this model", expected=expected)


def _require_frames(frames: int) -> None:
    if not 2 <= frames <= _LONGEST_PATH:
        raise UsageError("view.frames", "that many frames cannot be shown", expected=f"2 to {_LONGEST_PATH}")


def _plain(rows: Array | FloatArray) -> list[list[float]]:
    return [[float(value) for value in row] for row in rows]


_MORE: dict[str, Callable[[Decoder, FloatArray], FloatArray]] = {
    "arrows": Decoder.arrows_to,
    "parts": Decoder.parts_at,
}
