"""The noise of the images: its power per Fourier shell, learned from what the model leaves unexplained."""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor


def residual_power(prediction: Tensor, images: Tensor, grid: Grid) -> Tensor:
    """Mean power per pixel of ``prediction - images`` ``(b h w)`` in every shell ``(s)``; white unit noise gives 1."""
    power = (prediction - images).abs().square().mean(dim=0)
    return fourier.shell_mean(power, grid, 2) / grid.box**2


def noise_weights(power: Tensor, grid: Grid) -> Tensor:
    """Weights ``(h w)`` that make ``sum |difference|² weights`` twice the negative log-likelihood of the images.

    They are ``1 / power`` per coefficient, counted once for each of a conjugate pair, divided by the number of pixels,
    and zero beyond Nyquist, where the corners of the transform hold no whole shell.
    """
    inside = grid.shells(2, power.device) < grid.n_shells - 1
    weights = fourier.hermitian_weights(grid, 2, power.device) / fourier.spread_shells(power.clamp(min=1e-6), grid, 2)
    return torch.where(inside, weights, 0.0) / grid.box**2
