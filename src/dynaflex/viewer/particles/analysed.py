"""What ``dynaflex analyze`` found about each particle, as columns, if it was found of the latents that are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dynaflex.errors import DynaflexError
from dynaflex.products.names import ANALYSIS, DENSITY, K_MEANS, PARTICLES
from dynaflex.products.stored import analysed_particles, numbered
from dynaflex.run.files import ParticleLatents
from dynaflex.run.results import listed_in
from dynaflex.shapes import FloatArray
from dynaflex.viewer.particles.columns import Column

_CLUSTERS = {K_MEANS: "k-means cluster", DENSITY: "dense region"}
_PLANE = "umap"


@dataclass(frozen=True)
class Analysed:
    """Columns with their ``values`` ``(N)`` by identifier, none if there is no analysis or it cannot be used.

    ``trouble`` says why an analysis that is there is not used; ``hint``, which command adds what is missing.
    """

    columns: list[Column] = field(default_factory=list)
    values: dict[str, FloatArray] = field(default_factory=dict)
    trouble: str | None = None
    hint: str | None = "clusters and UMAP: dynaflex analyze RUN --umap"


def read_analysis(run: Path, latents: ParticleLatents) -> Analysed:
    """The analysis of the particles with these ``latents``, N of them."""
    try:
        if not listed_in(run / ANALYSIS, ANALYSIS).has(PARTICLES):
            return Analysed()
        return _columns(analysed_particles(run / ANALYSIS, latents))
    except DynaflexError as error:
        return Analysed(trouble=f"not used: {error}")


def _columns(found: pd.DataFrame) -> Analysed:
    columns, values = [], {}
    for axis, name in enumerate(numbered(found, _PLANE), 1):
        columns.append(Column(f"{_PLANE}{axis}", f"UMAP {axis}", "", "layout"))
        values[f"{_PLANE}{axis}"] = found[name].to_numpy(np.float32)
    for name, label in _CLUSTERS.items():
        columns.append(Column(name, label, "", "cluster"))
        values[name] = found[name].where(found[name] > 0).to_numpy(np.float32)
    return Analysed(columns, values, hint=None if f"{_PLANE}1" in values else "UMAP: dynaflex analyze RUN --umap")
