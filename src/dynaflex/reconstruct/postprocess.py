"""From two half-maps to one map."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation


def merge(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of two half-maps ``(d d d)``, every shell weighted by the FSC of their mean: ``2 FSC / (1 + FSC)``."""
    grid = Grid(first.shape[-1], 1.0)
    fsc = fourier_shell_correlation(first, second, mask).clamp(0.0, 1.0)
    # Beyond the first shell without signal, what looks like correlation is chance.
    silent = (fsc < 0.143).nonzero()
    if len(silent) > 0:
        fsc[int(silent[0]) :] = 0.0
    weight = fourier.spread_shells((2.0 * fsc / (1.0 + fsc)).sqrt().to(first.dtype), grid, 3)
    return fourier.inverse_transform(fourier.transform(0.5 * (first + second), 3) * weight, 3)


def soft_mask(volume: Tensor, grid: Grid, threshold: float, extend: float = 6.0, edge: float = 9.0) -> Tensor:
    """1 within ``extend`` Å of the density above ``threshold``, falling to 0 as a cosine over ``edge`` Å, ``(d d d)``."""
    outside = (volume <= threshold).cpu().numpy()
    distance = torch.as_tensor(distance_transform_edt(outside, sampling=grid.pixel_size), dtype=torch.float32)
    ramp = ((distance - extend) / edge).clamp(0.0, 1.0)
    return (0.5 + 0.5 * torch.cos(torch.pi * ramp)).to(volume.device)
