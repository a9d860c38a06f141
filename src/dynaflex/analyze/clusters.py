"""Many conformations in groups: compact ones, dense regions, and who stands for each of them."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.neighbors import NearestNeighbors

from dynaflex.shapes import Array, IntArray

NOISE = 0
"""The label of a particle that belongs to no cluster; clusters are counted from 1, the largest first."""
_SEARCHED = 20_000
_WITNESSES = 1000


def k_means(points: Array, clusters: int, seed: int = 0) -> IntArray:
    """Labels ``(p)`` of so many compact clusters, or fewer where there are fewer different points ``(p k)``."""
    clusters = min(clusters, len(np.unique(points, axis=0)))
    return _by_size(KMeans(clusters, n_init=4, random_state=seed).fit_predict(points))


def density_clusters(points: Array, smallest: int, seed: int = 0) -> IntArray:
    """Labels ``(p)`` of the dense regions with at least ``smallest`` of the points ``(p k)``, and ``NOISE`` between.

    HDBSCAN on at most 20,000 points drawn with ``seed``; each of the others goes with the nearest of them. A continuum
    is one region: this asks whether there are separate states, and need not find any.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(points))[:_SEARCHED])
    smallest = max(2, round(smallest * len(drawn) / len(points)))
    search = HDBSCAN(min_cluster_size=smallest, allow_single_cluster=True, copy=True)
    found = search.fit_predict(points[drawn])
    nearest = NearestNeighbors(n_neighbors=1).fit(points[drawn]).kneighbors(points, return_distance=False)[:, 0]
    return _by_size(found[nearest])


def medoid(points: Array, seed: int = 0) -> int:
    """The one of the points ``(p k)`` with the smallest sum of distances to the others, or to 1,000 of them."""
    witnesses = np.random.default_rng(seed).permutation(len(points))[:_WITNESSES]
    total = np.zeros(len(points))
    for witness in points[witnesses]:
        total += np.linalg.norm(points - witness, axis=1)
    return int(total.argmin())


def _by_size(labels: IntArray) -> IntArray:
    """Labels from 1 by falling size; negative ones become ``NOISE``."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    renamed = np.full(len(labels), NOISE, dtype=np.int64)
    for new, old in enumerate(names[np.argsort(-counts, kind="stable")], 1):
        renamed[labels == old] = new
    return renamed
