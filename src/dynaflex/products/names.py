"""The names that ``analyze`` gives to what it finds: files, columns, and what of them can be asked for."""

from __future__ import annotations

from typing import Final, Literal

ANALYSIS: Final = "analysis"
"""What ``analyze`` writes, as a kind of results, and the folder of a run that it goes to unless told otherwise."""
PARTICLES, CLUSTERS, MOTION, SUMMARY = "particles.csv", "clusters.csv", "motion.csv", "analysis.json"

ClusterKind = Literal["kmeans", "density"]
K_MEANS: Final = "kmeans"
DENSITY: Final = "density"

STATE, STATES = "state", "states"
"""Maps of a state, as a kind of results, and the folder of a run that they go to, each by its name, unless told
otherwise."""

Plane = Literal["motion", "pca", "latent", "umap"]
"""Coordinates in which an outline can be drawn; those of ``pca`` and ``latent`` belong to one half."""

Program = Literal["relion", "cryosparc", "chimerax", "cryodrgn"]
"""The programs that ``export`` writes for."""
