"""Neighbours should not collapse onto each other."""

from __future__ import annotations

from dynaflex.losses.graph import Graph
from dynaflex.shapes import Tensor


def repulsion(lengths: Tensor, graph: Graph) -> Tensor:
    """Mean squared shortfall of the edge lengths ``(b e)`` below tau, Å², per particle ``(b)``. Implements [DM 14].

    tau is c_mean; an edge that is shorter than tau at rest is only held to its rest length, so that a rigid motion
    costs nothing.
    """
    tau = graph.rest.clamp(max=graph.spacing)
    return (tau - lengths).clamp(min=0.0).square().mean(dim=1)
