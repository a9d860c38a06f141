"""Distances between neighbours should survive a deformation."""

from __future__ import annotations

from dynaflex import kernels
from dynaflex.losses.graph import Graph
from dynaflex.shapes import Tensor


def deformed_lengths(points: Tensor, graph: Graph) -> Tensor:
    """Lengths ``(b e)`` in Å of the graph's edges after the points have moved to ``points`` ``(b n 3)``."""
    return kernels.edge_lengths(points.transpose(1, 2), graph.edges)


def isometry(lengths: Tensor, graph: Graph) -> Tensor:
    """Mean squared change of the edge lengths ``(b e)``, Å², one value per particle ``(b)``. Implements [DM 5, 13].

    [DM 5] is the same sum over the bonds of an atomic model. The papers' sum is taken as a mean over edges: the
    balance of the losses absorbs the factor, and the value does not depend on the number of Gaussians.
    """
    return (lengths - graph.rest).square().mean(dim=1)
