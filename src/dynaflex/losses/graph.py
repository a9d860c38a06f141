"""Which Gaussians are neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree

from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class Graph:
    """Edges ``(e 2)`` over the consensus points, their ``rest`` lengths ``(e)`` and the ``spacing`` c_mean, in Å."""

    edges: Tensor
    rest: Tensor
    spacing: float

    def __post_init__(self) -> None:
        if len(self.edges) == 0:
            raise ValueError("the graph over the Gaussians has no edges: are there fewer than two Gaussians?")


def neighbour_graph(points: Tensor, degree: float | None = 12.0) -> Graph:
    """Connect points ``(n 3)`` closer than a cutoff. Implements [DM 12].

    c_mean is the mean length in the graph that joins every point to its two nearest neighbours. The paper's cutoff is
    1.5 c_mean (``degree=None``): a random fill then has a mean degree below 4, too few for rigidity, which needs 6 in
    three dimensions. By default the cutoff is the smallest that gives the mean degree asked for, and no point is left
    with fewer than three neighbours.
    """
    coordinates = points.detach().cpu().double().numpy()
    tree = cKDTree(coordinates)
    near, neighbours = tree.query(coordinates, k=min(4, len(coordinates)))
    spacing = float(near[:, 1:3].mean())
    if degree is None:
        pairs = torch.as_tensor(tree.query_pairs(1.5 * spacing, output_type="ndarray")).long()
    else:
        count = min(round(degree * len(coordinates) / 2), len(coordinates) * (len(coordinates) - 1) // 2)
        closest = _closest_pairs(tree, coordinates.shape[0], count, spacing)
        source = torch.arange(len(coordinates)).repeat_interleave(neighbours.shape[1] - 1)
        secure = torch.stack([source, torch.as_tensor(neighbours[:, 1:]).reshape(-1).long()], dim=1)
        pairs = torch.unique(torch.cat([closest, secure.sort(dim=1).values]), dim=0)
    return fixed_graph(points, pairs.to(points.device), spacing)


def fixed_graph(points: Tensor, edges: Tensor, spacing: float | None = None) -> Graph:
    """A graph with given edges ``(e 2)``, as from the bonds of an atomic model, at rest in ``points`` ``(n 3)``."""
    at_rest = points.detach()
    rest = torch.linalg.vector_norm(at_rest[edges[:, 0]] - at_rest[edges[:, 1]], dim=1)
    return Graph(edges, rest, float(rest.mean()) if spacing is None else spacing)


def cut(graph: Graph, inside: Tensor) -> Graph:
    """The graph without the edges between points that are ``inside`` ``(n)`` bool and points that are not."""
    kept = inside[graph.edges[:, 0]] == inside[graph.edges[:, 1]]
    return Graph(graph.edges[kept], graph.rest[kept], graph.spacing)


def _closest_pairs(tree: cKDTree, points: int, count: int, spacing: float) -> Tensor:
    """The ``count`` closest pairs ``(count 2)``, found by growing a search radius."""
    radius = 2.0 * spacing
    while True:
        pairs = torch.as_tensor(tree.query_pairs(radius, output_type="ndarray")).long()
        if len(pairs) >= count or len(pairs) == points * (points - 1) // 2:
            break
        radius *= 1.3
    coordinates = torch.as_tensor(tree.data)
    lengths = torch.linalg.vector_norm(coordinates[pairs[:, 0]] - coordinates[pairs[:, 1]], dim=1)
    return pairs[lengths.argsort(stable=True)[:count]].sort(dim=1).values
