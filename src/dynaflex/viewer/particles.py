"""The particles of a run as the page sees them: latents, principal components, and columns that can be plotted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from dynaflex.data.columns import particle_block
from dynaflex.errors import DynaflexError
from dynaflex.io.star import StarFile
from dynaflex.run.directory import Run
from dynaflex.run.files import read_latents, read_motion, read_table
from dynaflex.shapes import Array, FloatArray, IntArray
from dynaflex.viewer.analysed import Analysed, read_analysis
from dynaflex.viewer.columns import OURS, Column, TableColumns, numbered

NEAREST = 8
"""How many particles stand for a place that has no latents of its own."""
_SEARCHED = 50_000
_IN_MOTION = {
    "displacement_norm": Column("displacement", "displacement, rms", "Å", "value"),
    "misfit": Column("misfit", "misfit, relative", "", "value"),
    "gain": Column("gain", "gain by motion", "nats", "value"),
}
"""Columns by the name of their array in ``motion.npz``."""


@dataclass(frozen=True)
class Components:
    """The principal components of a half's latents: ``mean`` ``(k)``, ``axes`` ``(k k)`` in rows, ``spread`` ``(k)``.

    ``spread`` is the standard deviation along each axis.
    """

    mean: Array
    axes: Array
    spread: Array

    @classmethod
    def of(cls, latents: FloatArray) -> Components:
        """Of latents ``(p k)``; every axis points to where its largest entry is positive."""
        values = latents.astype(np.float64)
        mean = values.mean(axis=0)
        _, axes = np.linalg.eigh((values - mean).T @ (values - mean) / max(len(values), 1))
        axes = axes[:, ::-1].T
        axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
        return cls(mean, axes, ((values - mean) @ axes.T).std(axis=0))


class ParticleTable:
    """The particles of ``latents.npz`` in its order, N of them, with what else is known about each.

    Raises:
        DamagedCheckpointError: the file is not what the run wrote.
    """

    def __init__(self, run: Run, shared: bool) -> None:
        self.run, self.shared = run, shared
        stored = read_latents(run)
        self.rows, self.half, self.mean, self.scale = stored.index, stored.half, stored.mean, stored.scale
        self.halves = [half for half in (1, 2) if bool((self.half == half).any())]
        self.components = {half: self._components(half) for half in self.halves}

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self) -> list[Column]:
        """What is known at once, without reading the particle table or the analysis."""
        k = self.mean.shape[1]
        found = [Column(f"pc{i}", f"PC {i + 1}", "σ", "component") for i in range(k)]
        found += [Column(f"z{i}", f"latent {i + 1}", "σ", "latent") for i in range(k)]
        found += [Column("half", "half", "", "class"), Column("scale", "latent uncertainty, rms", "σ", "value")]
        return found + [column for column in _IN_MOTION.values() if column.identifier in self._in_motion]

    @cached_property
    def analysed(self) -> Analysed:
        """What ``dynaflex analyze`` found about the particles."""
        return read_analysis(self.run.path, self.rows, self.half, self.mean)

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
        elif identifier == "scale":
            found = np.sqrt(np.square(self.scale).mean(axis=1))
        elif identifier in self._in_motion:
            found = self._in_motion[identifier]
        elif (number := numbered(identifier, "pc", self.mean.shape[1])) is not None:
            found = self._projected[:, number]
        elif (number := numbered(identifier, "z", self.mean.shape[1])) is not None:
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
        if (number := numbered(identifier, "pc", k)) is not None:
            components = self.components[half]
            return components.axes[number], float(-components.mean @ components.axes[number])
        if (number := numbered(identifier, "z", k)) is not None:
            return np.eye(k)[number], 0.0
        raise KeyError(identifier)

    def latents_at(self, half: int, names: tuple[str, str], point: tuple[float, float]) -> FloatArray:
        """Latents ``(k)`` at a point of the plane of two columns.

        They begin as the mean of the eight nearest particles of the half. Axes of latent space are then followed to
        the point, which leaves the other directions as they are; a layout has no inverse, and the mean has to do.

        Raises:
            KeyError: a column is not an axis.
        """
        axes = [self.axis(half, name) for name in names if not self._is_layout(name)]
        own = self._own(half)
        distance = np.zeros(len(own))
        for name, target in zip(names, point, strict=True):
            distance += np.square(self.values(name)[own] - target)
        nearest = own[np.argpartition(distance, min(NEAREST, len(own)) - 1)[:NEAREST]]
        z = self.mean[nearest].mean(axis=0).astype(np.float64)
        if len(axes) == len(names):
            matrix, origins = np.stack([axis for axis, _ in axes]), np.array([origin for _, origin in axes])
            z += np.linalg.lstsq(matrix, np.asarray(point) - (matrix @ z + origins), rcond=None)[0]
        return z.astype(np.float32)

    def places(self, half: int, names: tuple[str, str], latents: FloatArray) -> FloatArray:
        """Where latents ``(m k)`` of a half lie in the plane of two columns, ``(m 2)``.

        In a layout that is where the eight particles with the nearest latents lie on average, of at most 50,000.

        Raises:
            KeyError: a column is not an axis.
        """
        own = self._own(half)
        own = own[:: -(-len(own) // _SEARCHED)]
        out = np.empty((len(latents), 2), dtype=np.float32)
        for column, name in enumerate(names):
            if not self._is_layout(name):
                axis, origin = self.axis(half, name)
                out[:, column] = latents @ axis + origin
                continue
            values = self.values(name)
            for row, z in enumerate(latents):
                distance = np.square(self.mean[own] - z).sum(axis=1)
                nearest = own[np.argpartition(distance, min(NEAREST, len(own)) - 1)[:NEAREST]]
                out[row, column] = values[nearest].mean()
        return out

    def of_half(self, half: int) -> tuple[Array, Array]:
        """The latents ``(p k)`` of the particles that the model of a half knows, and their first component ``(p)``."""
        own = self._own(half)
        return self.mean[own].astype(np.float64), self.values("pc0")[own].astype(np.float64)

    def subset(self, chosen: Array | IntArray) -> StarFile:
        """The table's rows of the particles at ``chosen``, every other block and column as in the input table."""
        kept = [name for name in self._table.columns if not str(name).startswith(OURS)]
        part = self._table.loc[:, kept].iloc[np.sort(self.rows[chosen])]
        return StarFile(self._star.path, {**self._star.blocks, self._block: part}, self._star.lists)

    def _own(self, half: int) -> IntArray:
        return np.arange(len(self)) if self.shared else np.flatnonzero(self.half == half)

    def _is_layout(self, name: str) -> bool:
        return any(column.identifier == name and column.kind == "layout" for column in self.analysed.columns)

    def _components(self, half: int) -> Components:
        return Components.of(self.mean if self.shared else self.mean[self.half == half])

    @cached_property
    def _projected(self) -> FloatArray:
        out = np.zeros_like(self.mean)
        for half, found in self.components.items():
            own = self.half == half
            out[own] = (self.mean[own] - found.mean) @ found.axes.T
        return out

    @cached_property
    def _in_motion(self) -> dict[str, FloatArray]:
        """Columns ``(N)`` of the motion, which lists the particles of half 1 first, then those of half 2; none before
        it was measured."""
        order = np.concatenate([np.flatnonzero(self.half == half) for half in (1, 2)])
        found = {}
        try:
            stored = read_motion(self.run)
        except DynaflexError:
            return {}
        for name, column in _IN_MOTION.items():
            values = getattr(stored, name)
            if values.shape == order.shape and np.isfinite(values).any():
                found[column.identifier] = np.empty_like(values)
                found[column.identifier][order] = values
        return found

    @cached_property
    def _star(self) -> StarFile:
        return read_table(self.run)

    @cached_property
    def _block(self) -> str:
        return particle_block(self._star)

    @property
    def _table(self) -> pd.DataFrame:
        return self._star.blocks[self._block]
