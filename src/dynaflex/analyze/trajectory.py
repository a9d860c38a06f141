"""Paths through conformations that occur: shortest where the particles are dense."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra
from sklearn.neighbors import NearestNeighbors

from dynaflex.shapes import Array, IntArray

NEIGHBOURS = 15
_SEARCHED = 5000
_AVOIDANCE = 2.0
_THINNEST = 1e6
_STEPS = 200
_SMOOTHING = 0.04
_ENDS = (2, 98)
_WIDTH = 0.1


def dense_path(points: Array, along: Array, frames: int, seed: int = 0) -> Array:
    """A path ``(frames k)`` of equal steps through the dense regions of ``points`` ``(p k)``.

    It leads from the densest place among the lowest tenth of the coordinate ``along`` ``(p)`` to that among the highest
    tenth, over the graph of nearest neighbours, in which a step through a thin region costs more than its length. The
    corners of the graph are rounded off. At most 5,000 points drawn with ``seed`` are used.
    """
    drawn = _drawn(points, seed)
    graph = _Neighbourhoods.of(points[drawn])
    order = np.argsort(along[drawn], kind="stable")
    tail = max(1, len(order) // 10)
    first, last = (int(end[graph.reach[end].argmin()]) for end in (order[:tail], order[-tail:]))
    return graph.path([first, last], frames)


def dense_path_through(points: Array, stops: Array, frames: int, seed: int = 0) -> Array:
    """The path of :func:`dense_path` from the first to the last of two or more places ``stops`` ``(s k)``, by way of
    the others: of each, the nearest of the points."""
    graph = _Neighbourhoods.of(points[_drawn(points, seed)])
    nearest = NearestNeighbors(n_neighbors=1).fit(graph.places).kneighbors(stops, return_distance=False)[:, 0]
    return graph.path([int(place) for place in nearest], frames)


def mean_path(points: Array, along: Array, frames: int) -> Array:
    """Where ``points`` ``(p k)`` lie on average, at so many equal steps of their coordinate ``along`` ``(p)``.

    The steps ``(frames k)`` lead from its 2nd to its 98th percentile. At each, a straight line is fitted to the points
    around it, with weights that fall off over a tenth of the way.
    """
    low, high = np.percentile(along, _ENDS)
    if not high > low:
        return np.repeat(points.mean(axis=0, keepdims=True), frames, axis=0)
    path = []
    for step in np.linspace(low, high, frames):
        off = (along - step) / (_WIDTH * (high - low))
        weight = np.exp(-0.5 * off**2)
        # The line's value at the step itself, as a weighted mean of the points.
        weight *= (weight * off**2).sum() - (weight * off).sum() * off
        path.append(weight @ points / weight.sum())
    return np.array(path)


@dataclass(frozen=True)
class _Neighbourhoods:
    """``places`` ``(p k)``, the nearest of them ``index`` ``(p m)`` to each, itself first, and the ``reach`` ``(p)``
    that holds these."""

    places: Array
    index: IntArray
    reach: Array

    @classmethod
    def of(cls, places: Array) -> _Neighbourhoods:
        neighbours = min(NEIGHBOURS, len(places) - 1)
        distance, index = NearestNeighbors(n_neighbors=neighbours + 1).fit(places).kneighbors(places)
        return cls(places, index, distance[:, -1])

    def path(self, stops: list[int], frames: int) -> Array:
        """Equal steps ``(frames k)`` along the cheapest way from stop to stop, its corners rounded off."""
        nodes = _cheapest_way(self.places, self.index[:, 1:], self.reach, stops)
        # The mean of a node's neighbours lies on the ridge beside which the particle was found.
        ridge = self.places[self.index[nodes]].mean(axis=1)
        if len(ridge) < 2:
            return np.repeat(ridge, frames, axis=0)
        fine = equal_steps(ridge, _STEPS)
        return equal_steps(gaussian_filter1d(fine, _SMOOTHING * _STEPS, axis=0, mode="nearest"), frames)


def _drawn(points: Array, seed: int) -> IntArray:
    return np.sort(np.random.default_rng(seed).permutation(len(points))[:_SEARCHED])


def equal_steps(path: Array, frames: int) -> Array:
    """So many points ``(frames k)`` at equal distances along the polygon ``path`` ``(m k)``, its ends included."""
    passed = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    where = np.linspace(0.0, passed[-1], frames)
    return np.stack([np.interp(where, passed, column) for column in path.T], axis=1)


def _cheapest_way(places: Array, index: IntArray, reach: Array, stops: list[int]) -> IntArray:
    """The nodes of the cheapest way from stop to stop among ``places``, over edges to neighbours ``index`` ``(p m)``.

    ``reach`` ``(p)`` is the radius that holds a node's neighbours: the thinner its surroundings, the larger.
    """
    count, degree = index.shape
    start, end = np.repeat(np.arange(count), degree), index.ravel()
    bridges = _bridges(places, start, end)
    start, end = np.concatenate([start, bridges[:, 0]]), np.concatenate([end, bridges[:, 1]])
    length = np.linalg.norm(places[start] - places[end], axis=1)
    # Where most points coincide, all others are far from anything.
    thinness = np.minimum(0.5 * (reach[start] + reach[end]) / max(float(np.median(reach)), 1e-300), _THINNEST)
    # Points that coincide are still an edge: a cost of exactly zero would mean none.
    cost = np.maximum(length * thinness**_AVOIDANCE, 1e-12)
    graph = coo_array((cost, (start, end)), shape=(count, count)).tocsr()
    way = stops[:1]
    for first, last in itertools.pairwise(stops):
        before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)[1]
        back = [last]
        while back[-1] != first:
            back.append(int(before[back[-1]]))
        way += back[-2::-1]
    return np.array(way, dtype=np.int64)


def _bridges(places: Array, start: IntArray, end: IntArray) -> IntArray:
    """Edges ``(m 2)`` that join what the graph leaves apart, each the shortest from one part to all others."""
    found = []
    edges = coo_array((np.ones(len(start)), (start, end)), shape=(len(places), len(places)))
    parts, part = connected_components(edges, directed=False)
    while parts > 1:
        inside = np.flatnonzero(part == part[0])
        outside = np.flatnonzero(part != part[0])
        distance, nearest = NearestNeighbors(n_neighbors=1).fit(places[inside]).kneighbors(places[outside])
        closest = int(distance[:, 0].argmin())
        pair = (int(inside[nearest[closest, 0]]), int(outside[closest]))
        found.append(pair)
        part[part == part[pair[1]]] = part[0]
        parts -= 1
    return np.array(found, dtype=np.int64).reshape(-1, 2)
