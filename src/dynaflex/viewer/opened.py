"""A run as the explorer knows it: what can be asked for, by identifiers of ours, and the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dynaflex.analyze.axes import PrincipalAxes
from dynaflex.errors import DynaflexError
from dynaflex.products.names import ANALYSIS, PARTICLES
from dynaflex.results.settings import open_run
from dynaflex.results.trained import config_of, method_of
from dynaflex.run.files import LATENTS, MOTION
from dynaflex.run.watched import WatchedRun, state_of
from dynaflex.shapes import BoolArray, FloatArray, IntArray
from dynaflex.viewer.answers.averages import ClassAverages
from dynaflex.viewer.answers.conformations import Conformations
from dynaflex.viewer.answers.images import ParticleImages
from dynaflex.viewer.answers.path_maps import PathMaps
from dynaflex.viewer.answers.stage import Stage
from dynaflex.viewer.answers.under_way import new_metrics, shell_correlations
from dynaflex.viewer.answers.unfinished import Training
from dynaflex.viewer.answers.volumes import RunMaps
from dynaflex.viewer.answers.wire import pack
from dynaflex.viewer.particles.selections import Selections
from dynaflex.viewer.particles.table import ParticleTable

State = tuple[int | str, ...]
_LATER = (MOTION, f"{ANALYSIS}/{PARTICLES}", "maps/map.mrc")
"""What a run finds after the latents, and the explorer shows."""


class OpenedRun:
    """The answers to all that the page can ask. Slow ones are kept; several threads may ask at once.

    Images of particles are looked for in ``datadir`` first.
    """

    def __init__(self, run: Path, datadir: Path | None = None) -> None:
        self.run = WatchedRun(open_run(run).path)
        self.selections = Selections(run)
        self._lock = threading.Lock()
        self._stage: tuple[State, Stage] | None = None
        self._training = Training(self.run)
        self._maps = RunMaps(self.run)
        self._images = ParticleImages(self.run, datadir)
        self._averages = ClassAverages(self._images)
        self._path_maps = PathMaps(self.run, datadir)

    def summary(self) -> dict[str, Any]:
        """What the page needs first: the run, its columns, halves, maps, and what cannot be shown yet."""
        config, words = config_of(self.run), method_of(self.run).wording
        found: dict[str, Any] = {
            "name": self.run.path.resolve().name,
            "method": words.title,
            "carrier": words.carrier,
            "shared": config.half_sets == "shared",
            "maps": self._maps.listed(),
            "colours": self._maps.colours(),
            "version": self.state(),
            "training": not self.run.files.has(LATENTS),
            "particles": None,
        }
        try:
            stage = self.stage()
        except DynaflexError as error:
            return {**found, "notices": [*self.run.notices, error.problem]}
        particles, motion = stage.particles, stage.motion
        columns = [*(motion.columns() if motion is not None else []), *particles.columns()]
        found["particles"] = {
            "count": len(particles),
            "halves": particles.halves,
            "latent_dim": particles.mean.shape[1],
            "components": {half: _listed(one) for half, one in particles.components.items()},
            "columns": [vars(column) for column in columns],
        }
        return {**found, "notices": self.run.notices}

    def state(self) -> State:
        """Changes when anything new is known about the particles; empty before there are latents."""
        first, *later = (state_of(self.run.path / name) or () for name in (LATENTS, *_LATER))
        return sum(later, first) if first else self._training.state()

    def stage(self) -> Stage:
        """The run as it is now, made anew when there is more to know of it.

        Raises:
            UsageError: the run has no latents yet.
            InputError, DamagedCheckpointError: they cannot be read.
        """
        state = self.state()
        with self._lock:
            if self._stage is None or self._stage[0] != state:
                found = self.run.files.has(LATENTS)
                stage = Stage(self.run, None if found else self._training.halves())
                if self._stage is not None:
                    self._stage[1].close()
                self._stage = (state, stage)
            return self._stage[1]

    def particles(self) -> ParticleTable:
        """The particles with their latents."""
        return self.stage().particles

    def conformations(self) -> Conformations:
        """What can be asked about conformations."""
        return Conformations(self.stage())

    def column(self, identifier: str) -> bytes:
        """A column as a message with one float32 array ``(N)``, and the ``share`` of the particles that it is known of.

        Raises:
            KeyError: there is no such column.
        """
        planes = self.stage().planes
        share = planes.motion.awaited() if planes.motion is not None and identifier.startswith("motion") else 1.0
        return pack({"id": identifier, "share": share}, planes.values(identifier))

    def columns(self) -> dict[str, Any]:
        """The ``columns`` that take a while to read: of the particle table, and of what ``analyze`` found.

        ``trouble`` says why an analysis is not used and ``hint`` how to have what is missing; either can be None.
        """
        particles = self.particles()
        found = particles.analysed
        listed = [vars(column) for column in (*found.columns, *particles.table.listed())]
        return {"columns": listed, "trouble": found.trouble, "hint": found.hint}

    def images(self, rows: IntArray, resolution: float) -> bytes:
        """A message with images of particles and their projections; see :meth:`ParticleImages.packed`."""
        return self._images.packed(self.stage(), rows, resolution)

    def averages(self, chosen: BoolArray, resolution: float) -> bytes:
        """A message with class averages of the particles ``chosen`` ``(N)``; see :meth:`ClassAverages.packed`."""
        return self._averages.packed(self.particles().rows_of(chosen), resolution)

    def make_path_maps(self, half: int, nodes: FloatArray) -> dict[str, Any]:
        """Begin to make maps from the particles around nodes ``(n k)`` of a half; without nodes, stop that.

        Raises:
            UsageError: the nodes are not of this run, or too many.
        """
        if len(nodes):
            conformations = self.conformations()
            known = np.stack([conformations.of(half, z).latents for z in nodes])
            self._path_maps.begin(conformations.stage, half, known)
        else:
            self._path_maps.stop()
        return self.path_maps()

    def path_maps(self) -> dict[str, Any]:
        """How far these maps are; see :meth:`PathMaps.told`."""
        return self._path_maps.told()

    def path_map(self, node: int) -> bytes:
        """A message with one of these maps; see :meth:`PathMaps.packed`."""
        return self._path_maps.packed(node)

    def map(self, identifier: str, colour: str | None) -> bytes:
        """A message with a map, and perhaps a map of colours; see :meth:`RunMaps.packed`."""
        return self._maps.packed(identifier, colour, self._side())

    def section(self, identifier: str, axis: str, at: int) -> bytes:
        """A message with a plane of a map; see :meth:`RunMaps.section`."""
        return self._maps.section(identifier, axis, at)

    def progress(self, since: int) -> dict[str, Any]:
        """What a run at work has written from byte ``since`` of its metrics on; see :func:`new_metrics`."""
        return {**new_metrics(self.run, since), **self._training.told(), "version": self.state()}

    def curves(self) -> dict[str, Any]:
        """The Fourier shell correlations of the run, empty before there are any; see :func:`shell_correlations`."""
        return shell_correlations(self.run)

    def _side(self) -> list[float]:
        """The camera of the conformations; without a model, any."""
        try:
            return self.stage().decoder(1).side
        except DynaflexError:
            return [float(value) for value in np.eye(3).flatten()]


def _listed(components: PrincipalAxes) -> dict[str, Any]:
    return {"mean": components.mean.tolist(), "axes": components.axes.tolist()}


Verdicts = Callable[[], list[dict[str, str]]]
"""Sentences on what the run found, each with a ``kind``: ``good``, ``note`` or ``warning``."""
