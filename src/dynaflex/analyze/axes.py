"""Many conformations laid out along few axes: principal axes, and UMAP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynaflex.errors import EnvironmentFault
from dynaflex.shapes import Array, FloatArray


@dataclass(frozen=True)
class PrincipalAxes:
    """The ``mean`` ``(k)`` of some points, orthonormal ``axes`` ``(m k)`` by falling ``variance`` ``(m)`` along them,
    and the ``share`` ``(m)`` of all variance that is."""

    mean: Array
    axes: Array
    variance: Array
    share: Array

    def coordinates(self, points: Array | FloatArray) -> Array:
        """Points ``(p k)`` in the frame of the axes, ``(p m)``."""
        return np.asarray((points - self.mean) @ self.axes.T)


def principal_axes(points: Array | FloatArray, most: int) -> PrincipalAxes:
    """At most so many principal axes of points ``(p k)``; the largest entry of each is positive."""
    points = np.asarray(points, dtype=np.float64)
    mean = points.mean(axis=0)
    _, spread, axes = np.linalg.svd(points - mean, full_matrices=False)
    axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    variance = spread**2 / len(points)
    share = variance / max(variance.sum(), 1e-300)
    return PrincipalAxes(mean, axes[:most], variance[:most], share[:most])


def umap(points: Array, seed: int = 0) -> Array:
    """Points ``(p k)`` laid out in a plane ``(p 2)`` so that neighbours stay neighbours; distances mean little in it.

    Raises:
        EnvironmentFault: umap-learn is not installed.
    """
    require_umap()
    from umap import UMAP

    return np.asarray(UMAP(n_components=2, random_state=seed).fit_transform(points), dtype=np.float64)


def require_umap() -> None:
    """Refuse before any work is done.

    Raises:
        EnvironmentFault: umap-learn is not installed.
    """
    try:
        import umap  # noqa: F401
    except ImportError as error:
        raise EnvironmentFault(
            "analyze.no-umap",
            "UMAP needs the package umap-learn",
            fix="pip install dynaflex[umap], or leave out --umap: everything else is made without it",
        ) from error
