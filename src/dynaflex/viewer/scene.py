"""A run as the explorer knows it: what can be asked for, by identifiers of ours, and the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dynaflex.analyze.trajectory import dense_path, dense_path_through
from dynaflex.errors import DynaflexError, UsageError
from dynaflex.pipelines.predict import config_of, method_of
from dynaflex.pipelines.volumes import along_axis
from dynaflex.run.directory import Run
from dynaflex.run.files import MOTION
from dynaflex.shapes import FloatArray
from dynaflex.viewer.analysed import ANALYSIS
from dynaflex.viewer.colourings import DISPLACEMENT
from dynaflex.viewer.decoder import SIZES, Decoder
from dynaflex.viewer.particles import Components, ParticleTable
from dynaflex.viewer.progress import is_at_work, new_metrics, shell_correlations
from dynaflex.viewer.selections import Selections
from dynaflex.viewer.volumes import HalfMaps, pack_volume
from dynaflex.viewer.watched import WatchedRun, state_of
from dynaflex.viewer.wire import pack

_LONGEST_PATH = 400
_MOST_STOPS = 40


class Scene:
    """The answers to all that the page can ask. Slow ones are kept; several threads may ask at once."""

    def __init__(self, run: Path) -> None:
        self.run = WatchedRun(Run.open(run).path)
        self.selections = Selections(run)
        self._lock = threading.Lock()
        self._particles: tuple[tuple[int, ...] | None, ParticleTable] | None = None
        self._decoder = lru_cache(maxsize=2)(lambda half, _version: Decoder(self.run, half))
        self._maps = HalfMaps(self.run)

    def summary(self) -> dict[str, Any]:
        """What the page needs first: the run, its columns, halves, maps, and what cannot be shown yet."""
        config = config_of(self.run)
        found: dict[str, Any] = {
            "name": self.run.path.resolve().name,
            "method": method_of(self.run).name,
            "shared": config.half_sets == "shared",
            "maps": self._maps.names(),
            "colours": self._maps.colours(),
            "version": self.state(),
            "particles": None,
        }
        try:
            particles = self.particles()
        except DynaflexError as error:
            return {**found, "notices": [*self.run.notices, error.problem]}
        found["particles"] = {
            "count": len(particles),
            "halves": particles.halves,
            "latent_dim": particles.mean.shape[1],
            "components": {half: _listed(one) for half, one in particles.components.items()},
            "columns": [vars(column) for column in particles.columns()],
        }
        return {**found, "notices": self.run.notices}

    def version(self) -> tuple[int, int] | None:
        """Changes when there are new latents; None before there are any."""
        return state_of(self.run.path / "latents.npz")

    def state(self) -> tuple[int, ...] | None:
        """Changes when anything new is known about the particles; None before there are latents."""
        version = self.version()
        later = [state_of(self.run.path / name) or () for name in (MOTION, ANALYSIS)]
        return None if version is None else sum(later, version)

    def particles(self) -> ParticleTable:
        """The particles with their latents, read again when they have changed.

        Raises:
            UsageError: the run has no latents yet.
            InputError: they cannot be read.
        """
        version = self.version()
        if version is None:
            raise UsageError("view.no-latents", "this run has no latents yet", fix="wait until it is trained")
        state = self.state()
        with self._lock:
            if self._particles is None or self._particles[0] != state:
                shared = config_of(self.run).half_sets == "shared"
                self._particles = (state, ParticleTable(self.run, shared))
            return self._particles[1]

    def column(self, identifier: str) -> bytes:
        """A column as a message with one float32 array ``(N)``.

        Raises:
            KeyError: there is no such column.
        """
        return pack({"id": identifier}, self.particles().values(identifier))

    def columns(self) -> dict[str, Any]:
        """The ``columns`` that take a while to read: of the particle table, and of what ``analyze`` found.

        ``trouble`` says why an analysis is not used and ``hint`` how to have what is missing; either can be None.
        """
        particles = self.particles()
        found = particles.analysed
        listed = [vars(column) for column in (*found.columns, *particles.table.listed())]
        return {"columns": listed, "trouble": found.trouble, "hint": found.hint}

    def places(self, half: int, names: tuple[str, str], latents: FloatArray) -> list[list[float]]:
        """Where latents ``(m k)`` lie in the plot; see :meth:`ParticleTable.places`.

        Raises:
            UsageError: the latents are not of this run.
        """
        particles = self.particles()
        self._require_latents(latents, particles.mean.shape[1])
        found = particles.places(self._known_half(half), names, latents)
        return [[float(value) for value in place] for place in found]

    def latents_at(self, half: int, names: tuple[str, str], point: tuple[float, float]) -> FloatArray:
        """Latents at a point of the plot; see :meth:`ParticleTable.latents_at`."""
        return self.particles().latents_at(self._known_half(half), names, point)

    def path_along(self, half: int, axis: int, frames: int) -> list[list[float]]:
        """Latents along a principal axis of a half, from -2 to +2 standard deviations.

        Raises:
            UsageError: there is no such axis, or too many frames are asked for.
        """
        self._require_frames(frames)
        latents = self.decoder(half).trained.latents.mean
        return [[float(value) for value in z] for z in along_axis(latents, axis, frames)]

    def dense_path(self, half: int, frames: int, stops: FloatArray) -> list[list[float]]:
        """Latents along a path where the particles of a half are dense, by way of ``stops`` ``(s k)``, or, if there are
        none, from one end of the first component to the other.

        Raises:
            UsageError: the stops are not of this run, or only one, or too many frames or stops are asked for.
        """
        self._require_frames(frames)
        particles = self.particles()
        latents, along = particles.of_half(self._known_half(half))
        if not len(stops):
            found = dense_path(latents, along, frames)
        else:
            if not 2 <= len(stops) <= _MOST_STOPS:
                raise UsageError("view.stops", "no path leads that way", expected=f"2 to {_MOST_STOPS} places")
            self._require_latents(stops, latents.shape[1])
            found = dense_path_through(latents, stops.astype(np.float64), frames)
        return [[float(value) for value in z] for z in found]

    def decoder(self, half: int) -> Decoder:
        """The model of a half, loaded once for every state of the run."""
        with self._lock:
            return self._decoder(half, self.version())

    def conformation(
        self, half: int, latents: FloatArray, size: str, colour: str | None = DISPLACEMENT, more: tuple[str, ...] = ()
    ) -> bytes:
        """A message with the density as uint16 and a colour as uint8, cropped to where there is any; see pack_volume.

        ``more`` can name ``arrows``, where arrows begin and how far they go, ``(n 6)``, and ``parts``, where the
        Gaussians or vertices are, ``(n 3)``; both x, y, z in Å as float32.

        Raises:
            UsageError: the latents are not of this model, or there is no such size.
            KeyError: there is no such colour, or nothing more of that name.
        """
        decoder = self.decoder(self._known_half(half))
        expected = decoder.trained.latents.mean.shape[1]
        self._require_latents(latents[None], expected)
        if size not in SIZES:
            raise UsageError("view.latents-shape", "there is no such size", expected=" or ".join(SIZES))
        found = decoder.conformation(latents, size, colour)
        header = {
            "z": [float(value) for value in latents],
            "half": half,
            "level": decoder.level,
            "side": decoder.side,
            "largest": decoder.largest,
        }
        coloured = None if found.quantity is None or colour is None else (found.quantity, decoder.range_of(colour))
        layers = {name: _MORE[name](decoder, latents) for name in more}
        return pack_volume(header, found.density, found.window, coloured, layers)

    def parts(self, half: int) -> bytes:
        """A message with the Gaussians or the mesh at rest; see :class:`Parts`. Each also has what the maps say there.

        ``layers`` names the arrays; those of the maps are float32 ``(n)``.

        Raises:
            KeyError: the model has neither.
        """
        decoder = self.decoder(self._known_half(half))
        if decoder.parts is None:
            raise KeyError("parts")
        layers = decoder.parts.arrays() | {name: decoder.at_parts(name) for name in decoder.colours.names()}
        return pack({**decoder.parts.header(), "half": half, "layers": list(layers)}, *layers.values())

    def map(self, identifier: str, colour: str | None) -> bytes:
        """A message with the mean of two half-maps, and perhaps a map of colours; see :meth:`HalfMaps.packed`."""
        return self._maps.packed(identifier, colour, self._side())

    def progress(self, since: int) -> dict[str, Any]:
        """What a run at work has written from byte ``since`` of its metrics on; see :func:`new_metrics`."""
        return {**new_metrics(self.run, since), "working": is_at_work(self.run), "version": self.state()}

    def curves(self) -> dict[str, Any]:
        """The Fourier shell correlations of the run, empty before there are any; see :func:`shell_correlations`."""
        return shell_correlations(self.run)

    def _known_half(self, half: int) -> int:
        if half not in self.particles().halves:
            raise UsageError("view.half", f"no half {half}", expected="1 or 2")
        return half

    def _require_frames(self, frames: int) -> None:
        if not 2 <= frames <= _LONGEST_PATH:
            raise UsageError("view.frames", "that many frames cannot be shown", expected=f"2 to {_LONGEST_PATH}")

    def _require_latents(self, latents: FloatArray, expected: int) -> None:
        if latents.ndim != 2 or latents.shape[1] != expected or not np.isfinite(latents).all():
            raise UsageError("view.latents-shape", "this is no conformation of this model", expected=expected)

    def _side(self) -> list[float]:
        """The camera of the conformations; without a model, any."""
        try:
            return self.decoder(1).side
        except DynaflexError:
            return [float(value) for value in np.eye(3).flatten()]


def _listed(components: Components) -> dict[str, Any]:
    return {name: getattr(components, name).tolist() for name in ("mean", "axes", "spread")}


_MORE: dict[str, Callable[[Decoder, FloatArray], FloatArray]] = {
    "arrows": Decoder.arrows_to,
    "parts": Decoder.parts_at,
}

Verdicts = Callable[[], list[dict[str, str]]]
"""Sentences on what the run found, each with a ``kind``: ``good``, ``note`` or ``warning``."""
