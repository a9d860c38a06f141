"""From two half-maps to one map."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor


def merge(first: Tensor, second: Tensor, fsc: Tensor) -> Tensor:
    """The mean of two half-maps ``(d d d)``, each shell multiplied by its correlation with the truth.

    That is ``sqrt(2 FSC / (1 + FSC))``, from the curve ``fsc`` ``(s)`` of the half-maps.
    """
    grid = Grid(first.shape[-1], 1.0)
    fsc = fsc.clamp(0.0, 1.0)
    # Beyond the first shell without signal, what looks like correlation is chance.
    silent = (fsc < 0.143).nonzero()
    if len(silent) > 0:
        fsc[int(silent[0]) :] = 0.0
    weight = fourier.spread_shells((2.0 * fsc / (1.0 + fsc)).sqrt().to(first.dtype), grid, 3)
    return fourier.inverse_transform(fourier.transform(0.5 * (first + second), 3) * weight, 3)


def soft_mask(volume: Tensor, grid: Grid, threshold: float, extend: float = 6.0, edge: float = 9.0) -> Tensor:
    """1 within ``extend`` Å of density above ``threshold``, falling to 0 as a cosine over ``edge`` Å, ``(d d d)``."""
    outside = (volume <= threshold).cpu().numpy()
    distance = torch.as_tensor(distance_transform_edt(outside, sampling=grid.pixel_size), dtype=torch.float32)
    ramp = ((distance - extend) / edge).clamp(0.0, 1.0)
    return (0.5 + 0.5 * torch.cos(torch.pi * ramp)).to(volume.device)
