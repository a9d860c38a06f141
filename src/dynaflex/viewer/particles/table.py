"""The particles of a run as the page sees them: latents, principal components, and columns that can be plotted."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from dynaflex.analyze.axes import principal_axes
from dynaflex.data.columns import particle_block
from dynaflex.errors import UsageError
from dynaflex.run.directory import Run
from dynaflex.run.files import ParticleLatents, particles_shown, read_latents, read_motion, read_table
from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray
from dynaflex.viewer.particles.analysed import Analysed, read_analysis
from dynaflex.viewer.particles.columns import Column, TableColumns, numbered

_IN_MOTION = {
    "displacement_norm": Column("displacement", "displacement, rms", "Å", "value"),
    "particle_error": Column("error", "error of the displacement, rms", "Å", "value"),
    "misfit": Column("misfit", "misfit, relative", "", "value"),
    "gain": Column("gain", "gain by motion", "nats", "value"),
}
"""Columns by the name of their array in ``motion.npz``."""


class ParticleTable:
    """The particles of ``latents.npz`` in its order, N of them, with what else is known about each; or, of a run that
    has none yet, those whose latents are ``given``. A tilt series is one particle, in the row of its first image.

    Raises:
        DamagedCheckpointError: the file is not what the run wrote.
    """

    def __init__(self, run: Run, shared: bool, given: ParticleLatents | None = None) -> None:
        self.run, self.shared = run, shared
        self._images = read_latents(run) if given is None else given
        self._shown = self._images.rows if given is not None else particles_shown(run)
        self._first = np.flatnonzero(self._shown == self._images.rows)
        self.latents = self._images.take(self._first)
        self.rows, self.half, self.mean = self.latents.rows, self.latents.half, self.latents.mean
        self.halves = [half for half in (1, 2) if bool((self.half == half).any())]
        k = self.mean.shape[1]
        self.components = {half: principal_axes(self.mean[self.of_half(half)], k) for half in self.halves}

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self) -> list[Column]:
        """What is known at once, without reading the particle table or the analysis."""
        k = self.mean.shape[1]
        found = [Column(f"component{i}", f"component {i}", "σ", "component") for i in range(1, k + 1)]
        found += [Column(f"latent{i}", f"latent {i}", "σ", "latent") for i in range(1, k + 1)]
        found += [Column("half", "half", "", "class"), Column("scale", "latent uncertainty, rms", "σ", "value")]
        return found + [column for column in _IN_MOTION.values() if column.identifier in self._in_motion]

    @cached_property
    def analysed(self) -> Analysed:
        """What ``dynaflex analyze`` found about the particles."""
        found = read_analysis(self.run.path, self._images)
        return replace(found, values={name: values[self._first] for name, values in found.values.items()})

    @cached_property
    def table(self) -> TableColumns:
        """The particle table's own columns."""
        return TableColumns(self._table, self.rows)

    def values(self, identifier: str) -> FloatArray:
        """A column ``(N)``; NaN where a particle has no such number.

        Raises:
            KeyError: there is no such column.
        """
        found: Any = None
        if identifier == "half":
            found = self.half
        elif identifier == "row":
            found = self.rows
        elif identifier == "scale":
            found = np.sqrt(np.square(self.latents.scale).mean(axis=1))
        elif identifier in self._in_motion:
            found = self._in_motion[identifier]
        elif (number := numbered(identifier, "component", self.mean.shape[1])) is not None:
            found = self._projected[:, number]
        elif (number := numbered(identifier, "latent", self.mean.shape[1])) is not None:
            found = self.mean[:, number]
        elif (number := numbered(identifier, "star", len(self.table))) is not None:
            found = self.table.values(number)
        else:
            found = self.analysed.values.get(identifier)
        if found is None:
            raise KeyError(identifier)
        return np.asarray(found, dtype=np.float32)

    def axis(self, half: int, identifier: str) -> tuple[Array, float]:
        """The direction ``(k)`` of an axis of the plot in latent space, and the coordinate of the latents' origin.

        Raises:
            KeyError: the column is not an axis.
        """
        k = self.mean.shape[1]
        if (number := numbered(identifier, "component", k)) is not None:
            components = self.components[half]
            return components.axes[number], float(-components.mean @ components.axes[number])
        if (number := numbered(identifier, "latent", k)) is not None:
            return np.eye(k)[number], 0.0
        raise KeyError(identifier)

    def of_half(self, half: int) -> IntArray:
        """Which particles the model of a half knows, ``(p)``."""
        return np.arange(len(self)) if self.shared else np.flatnonzero(self.half == half)

    def rows_of(self, chosen: BoolArray) -> IntArray:
        """The rows of all images of the particles ``chosen`` ``(N)``, in the table's order."""
        return np.sort(self._images.rows[np.isin(self._shown, self.rows[chosen])])

    @cached_property
    def _projected(self) -> FloatArray:
        out = np.zeros_like(self.mean)
        for half, found in self.components.items():
            own = self.half == half
            out[own] = found.coordinates(self.mean[own])
        return out

    @cached_property
    def _in_motion(self) -> dict[str, FloatArray]:
        """Columns ``(N)`` of the motion, which lists the particles of half 1 first, then those of half 2; none before
        it was measured."""
        order = np.concatenate([np.flatnonzero(self._images.half == half) for half in (1, 2)])
        found = {}
        try:
            stored = read_motion(self.run)
        except UsageError:
            return {}
        for name, column in _IN_MOTION.items():
            values = getattr(stored, name)
            if values.shape == order.shape and np.isfinite(values).any():
                of_images = np.empty_like(values)
                of_images[order] = values
                found[column.identifier] = of_images[self._first]
        return found

    @cached_property
    def _table(self) -> pd.DataFrame:
        star = read_table(self.run)
        return star.blocks[particle_block(star)]
