"""Distances between neighbours should survive a deformation."""

from __future__ import annotations

from dynaflex import kernels
from dynaflex.losses.graph import Graph
from dynaflex.losses.rigidity import NM3
from dynaflex.shapes import Tensor

_DIRECTIONS = 7.5
"""What the squared strain of an edge is multiplied by to be that of the matter around: the mean of (n·e n)² over all
directions n is 2/15 of the sum of the squares of a strain e that keeps volumes."""


def deformed_lengths(points: Tensor, graph: Graph) -> Tensor:
    """Lengths ``(b e)`` in Å of the graph's edges after the points have moved to ``points`` ``(b n 3)``."""
    return kernels.edge_lengths(points.transpose(1, 2), graph.edges)


def isometry(lengths: Tensor, graph: Graph) -> Tensor:
    """Mean squared change of the edge lengths ``(b e)``, Å², one value per particle ``(b)``. Implements [DM 5, 13].

    [DM 5] is the same sum over the bonds of an atomic model. The papers' sum is taken as a mean over edges: the
    balance of the losses absorbs the factor, and the value does not depend on the number of Gaussians.
    """
    return (lengths - graph.rest).square().mean(dim=1)


def weight_of(rigidity: float, matter: float, graph: Graph) -> float:
    """The weight of :func:`isometry`, in nats per Å², with which ``matter`` Å³ have a ``rigidity`` in nats per nm³ and
    unit of squared strain.

    The same hinge then costs the same in a large molecule and in a small one, with many Gaussians or with few.
    """
    return rigidity * matter * NM3 * _DIRECTIONS / float(graph.rest.square().mean())
