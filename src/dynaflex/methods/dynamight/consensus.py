"""Keeping the reference model a conformation that really occurs, and the two halves in the same one."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree

from dynaflex.shapes import Tensor

MASK_RADIUS = 6.0


def closest_conformation(destinations: Tensor, reference: Tensor, pooled: int) -> Tensor:
    """The mean ``(n 3)`` of the ``pooled`` predictions ``(p n 3)`` that displace the reference ``(n 3)`` least."""
    displacement = (destinations - reference).square().sum(dim=(1, 2))
    return destinations[_first(displacement, pooled)].mean(dim=0)


def conformation_inside(destinations: Tensor, reference: Tensor, mask_points: Tensor, pooled: int) -> Tensor:
    """The mean ``(n 3)`` of the ``pooled`` predictions ``(p n 3)`` with most Gaussians inside the other half's mask.

    The mask is what lies within 6 Å of a Gaussian of the other half, ``mask_points`` ``(m 3)``: it is all that crosses
    from one half to the other. Small motions stay inside altogether; among equals the closest to the reference
    ``(n 3)`` come first.
    """
    tree = cKDTree(mask_points.detach().cpu().numpy())
    flat = destinations.detach().cpu().reshape(-1, 3).numpy()
    distance, _ = tree.query(flat, distance_upper_bound=MASK_RADIUS)
    inside = torch.as_tensor(distance <= MASK_RADIUS).view(destinations.shape[:2]).sum(dim=1)
    displacement = (destinations - reference).square().sum(dim=(1, 2))
    tie = displacement / (displacement.max() + 1e-6)
    return destinations[_first(tie - inside.to(tie.device), pooled)].mean(dim=0)


def _first(values: Tensor, count: int) -> Tensor:
    return values.argsort(stable=True)[: max(1, min(count, len(values)))]
