"""A few latents that stand for many."""

from __future__ import annotations

import torch

from dynaflex.shapes import Tensor


def sigma_points(latents: Tensor) -> Tensor:
    """The points ``(2k k)`` over which every polynomial of second degree has the mean that it has over ``latents``
    ``(p k)``: their mean, plus and minus the root of k times each axis of their covariance."""
    middle = latents.mean(dim=0)
    away = (latents - middle).double()
    spread, axes = torch.linalg.eigh(away.T @ away / len(latents))
    arms = (len(axes) * spread.clamp(min=0.0)).sqrt()[:, None] * axes.T
    return torch.cat([middle + arms, middle - arms]).to(latents.dtype)
