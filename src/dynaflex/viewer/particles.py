"""The particles of a run as the page sees them: latents, principal components, and columns that can be plotted."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynaflex.errors import InputError
from dynaflex.io.star import StarFile, read_star
from dynaflex.shapes import Array, FloatArray, IntArray

_NEAREST = 8
_UNITS = {
    "rlnDefocusU": "Å", "rlnDefocusV": "Å", "rlnDefocusAngle": "°", "rlnPhaseShift": "°",
    "rlnAngleRot": "°", "rlnAngleTilt": "°", "rlnAnglePsi": "°", "rlnOriginXAngst": "Å", "rlnOriginYAngst": "Å",
    "rlnCoordinateX": "px", "rlnCoordinateY": "px", "rlnCtfMaxResolution": "Å", "rlnHelicalTrackLengthAngst": "Å",
}  # fmt: skip
_OURS = "dynaflexLatent"


@dataclass(frozen=True)
class Column:
    """One number per particle: its ``identifier`` in requests, its name and unit for people, and its ``kind``.

    Kinds: ``latent`` and ``component`` can be axes; ``value`` has a scale, ``class`` few different whole numbers.
    """

    identifier: str
    label: str
    unit: str
    kind: str


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
        InputError: the file is damaged or only half written.
    """

    def __init__(self, run: Path, shared: bool) -> None:
        self.run, self.shared = run, shared
        try:
            with np.load(run / "latents.npz", allow_pickle=False) as stored:
                self.rows: IntArray = stored["index"].astype(np.int64)
                self.half: IntArray = stored["half"].astype(np.int64)
                self.mean: FloatArray = stored["mean"].astype(np.float32)
                self.scale: FloatArray = stored["scale"].astype(np.float32)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                "view.latents", "the latents cannot be read", file=run / "latents.npz", found=error
            ) from error
        self.halves = [half for half in (1, 2) if bool((self.half == half).any())]
        self.components = {half: self._components(half) for half in self.halves}

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self) -> list[Column]:
        """What is known at once, without reading the particle table."""
        k = self.mean.shape[1]
        found = [Column(f"pc{i}", f"PC {i + 1}", "", "component") for i in range(k)]
        found += [Column(f"z{i}", f"latent {i + 1}", "", "latent") for i in range(k)]
        found += [Column("half", "half", "", "class"), Column("scale", "latent uncertainty, rms", "", "value")]
        if self._displacement is not None:
            found.append(Column("displacement", "displacement, rms", "Å", "value"))
        return found

    def table_columns(self) -> list[Column]:
        """The columns of the particle table that hold numbers which differ."""
        found = []
        for i, name in enumerate(self._table.columns):
            head = pd.to_numeric(self._table[name].iloc[:200], errors="coerce")
            if str(name).startswith(_OURS) or head.isna().any() or self._table[name].iloc[self.rows].nunique() < 2:
                continue
            values = self._table[name].iloc[self.rows]
            few = values.nunique() <= 12 and bool((head % 1 == 0).all())
            found.append(Column(f"star{i}", str(name), _UNITS.get(str(name), ""), "class" if few else "value"))
        return found

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
        elif identifier == "displacement":
            found = self._displacement
        elif (number := _number(identifier, "pc", self.mean.shape[1])) is not None:
            found = self._projected[:, number]
        elif (number := _number(identifier, "z", self.mean.shape[1])) is not None:
            found = self.mean[:, number]
        elif (number := _number(identifier, "star", self._table.shape[1])) is not None:
            found = pd.to_numeric(self._table.iloc[self.rows, number], errors="coerce").to_numpy()
        if found is None:
            raise KeyError(identifier)
        return np.asarray(found, dtype=np.float32)

    def axis(self, half: int, identifier: str) -> tuple[Array, float]:
        """The direction ``(k)`` of an axis of the plot in latent space, and the coordinate of the latents' origin.

        Raises:
            KeyError: the column is not an axis.
        """
        k = self.mean.shape[1]
        if (number := _number(identifier, "pc", k)) is not None:
            components = self.components[half]
            return components.axes[number], float(-components.mean @ components.axes[number])
        if (number := _number(identifier, "z", k)) is not None:
            return np.eye(k)[number], 0.0
        raise KeyError(identifier)

    def latents_at(self, half: int, names: tuple[str, str], point: tuple[float, float]) -> FloatArray:
        """Latents ``(k)`` at a point of the plane of two columns.

        A plane leaves the other directions open: they are those of the mean of the eight nearest particles of the half.
        """
        axes, origins = zip(*(self.axis(half, name) for name in names), strict=True)
        own = np.flatnonzero(self.half == half) if not self.shared else np.arange(len(self))
        distance = np.zeros(len(own))
        for name, target in zip(names, point, strict=True):
            distance += np.square(self.values(name)[own] - target)
        nearest = own[np.argpartition(distance, min(_NEAREST, len(own)) - 1)[:_NEAREST]]
        z = self.mean[nearest].mean(axis=0).astype(np.float64)
        matrix = np.stack(axes)
        missing = np.asarray(point) - (matrix @ z + np.asarray(origins))
        return np.asarray(z + np.linalg.lstsq(matrix, missing, rcond=None)[0], dtype=np.float32)

    def subset(self, chosen: Array | IntArray) -> StarFile:
        """The table's rows of the particles at ``chosen``, every other block and column as in the input table."""
        kept = [name for name in self._table.columns if not str(name).startswith(_OURS)]
        part = self._table.loc[:, kept].iloc[np.sort(self.rows[chosen])]
        return StarFile(self._star.path, {**self._star.blocks, self._block: part}, self._star.lists)

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
    def _displacement(self) -> FloatArray | None:
        """``motion.npz`` lists the particles of half 1 first, then those of half 2."""
        order = np.concatenate([np.flatnonzero(self.half == half) for half in (1, 2)])
        try:
            with np.load(self.run / "motion.npz", allow_pickle=False) as stored:
                values = stored["displacement_norm"].astype(np.float32)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if values.shape != order.shape:
            return None
        out = np.empty_like(values)
        out[order] = values
        return out

    @cached_property
    def _star(self) -> StarFile:
        return read_star(self.run / "particles.star")

    @cached_property
    def _block(self) -> str:
        blocks = self._star.blocks
        return next((name for name, table in blocks.items() if "rlnImageName" in table.columns), next(reversed(blocks)))

    @property
    def _table(self) -> pd.DataFrame:
        return self._star.blocks[self._block]


def _number(identifier: str, prefix: str, count: int) -> int | None:
    """The number behind ``prefix`` if it is one of ``count``, written as we write it."""
    digits = identifier.removeprefix(prefix)
    if digits == identifier or not (digits.isascii() and digits.isdigit()) or len(digits) > 6:
        return None
    return int(digits) if int(digits) < count and str(int(digits)) == digits else None
