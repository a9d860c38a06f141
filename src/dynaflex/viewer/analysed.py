"""What ``dynaflex analyze`` found about each particle, as columns, if it was found of the latents that are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dynaflex.pipelines.analysis.names import DENSITY, K_MEANS, PARTICLES
from dynaflex.shapes import FloatArray, IntArray
from dynaflex.viewer.columns import Column

ANALYSIS = Path("analysis") / PARTICLES
"""Where ``analyze`` leaves its table in a run, unless it is told otherwise."""
_CLUSTERS = {K_MEANS: "k-means cluster", DENSITY: "dense region"}
_PLANE = "umap"
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Analysed:
    """Columns with their ``values`` ``(N)`` by identifier, none if there is no analysis or it cannot be used.

    ``trouble`` says why an analysis that is there is not used; ``hint``, which command adds what is missing.
    """

    columns: list[Column] = field(default_factory=list)
    values: dict[str, FloatArray] = field(default_factory=dict)
    trouble: str | None = None
    hint: str | None = "clusters and UMAP: dynaflex analyze RUN --umap"


def read_analysis(run: Path, rows: IntArray, half: IntArray, latents: FloatArray) -> Analysed:
    """The analysis of the particles in these ``rows`` ``(N)`` of the input table, with these ``latents`` ``(N k)``."""
    path = run / ANALYSIS
    if not path.is_file():
        return Analysed()
    try:
        with path.open(encoding="utf-8") as stream:
            table = pd.read_csv(stream, usecols=lambda name: name.rstrip("0123456789") in _READ)
        found = table.set_index("row").astype(np.float32)
        names = _in_order(found, "latent")
        if not np.array_equal(np.sort(found.index.to_numpy()), np.sort(rows)):
            return _unusable(f"is of {len(found):,} particles, and the run has {len(rows):,}; it")
        found = found.loc[rows]
        stored = found[names].to_numpy()
        if stored.shape != latents.shape:
            raise ValueError("latents are missing")
        same = np.abs(stored - latents).max(initial=0.0) < _ROUNDING
        if not same or (found["half"].to_numpy() != half).any():
            return _unusable("was made before the latents changed and")
        if not np.isfinite(found.to_numpy()).all():
            return _unusable("has gaps and")
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return _unusable("is damaged and")
    return _columns(found)


_READ = {"row", "half", "latent", *_CLUSTERS, _PLANE}


def _in_order(found: pd.DataFrame, prefix: str) -> list[str]:
    """The columns of a prefix and a number, by their numbers."""
    numbers = {name: name.removeprefix(prefix) for name in map(str, found.columns) if name.startswith(prefix)}
    return sorted((name for name, number in numbers.items() if number.isdigit()), key=lambda name: int(numbers[name]))


def _columns(found: pd.DataFrame) -> Analysed:
    columns, values = [], {}
    for axis, name in enumerate(_in_order(found, _PLANE), 1):
        columns.append(Column(f"{_PLANE}{axis}", f"UMAP {axis}", "", "layout"))
        values[f"{_PLANE}{axis}"] = found[name].to_numpy()
    for name, label in _CLUSTERS.items():
        if name in found:
            columns.append(Column(name, label, "", "cluster"))
            labels = found[name].to_numpy()
            values[name] = np.where(labels > 0, labels, np.float32(np.nan))
    return Analysed(columns, values, hint=None if f"{_PLANE}1" in values else "UMAP: dynaflex analyze RUN --umap")


def _unusable(why: str) -> Analysed:
    return Analysed(trouble=f"{ANALYSIS} {why} is not used: run dynaflex analyze again.")
