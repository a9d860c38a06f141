"""Keeping the reference model a conformation that really occurs."""

from __future__ import annotations

from dynaflex.shapes import Tensor


def closest_conformation(destinations: Tensor, reference: Tensor, pooled: int) -> Tensor:
    """The mean ``(n 3)`` of the ``pooled`` predictions ``(p n 3)`` that displace the reference ``(n 3)`` least."""
    displacement = (destinations - reference).square().sum(dim=(1, 2))
    least = displacement.argsort(stable=True)[: max(1, min(pooled, len(destinations)))]
    return destinations[least].mean(dim=0)
