"""The noise of the images: its power per Fourier shell, learned from what the model leaves unexplained.

Neither the images nor the predictions that they are compared with are masked. For noise that is the same everywhere the
coefficients of a whole image are independent, so that the likelihood is exact, whatever surrounds the particle: a
coordinate that is free gains half a nat from noise. Only the *power* of the noise is measured where the particle is.
"""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

LEAST = 1e-6
"""No shell has less power, in units of white noise that images are normalised to."""
SHELLS_TOGETHER = 3
"""Neighbouring shells that go to one side: the edges of an image tie the noise of neighbours."""


def residual_power(prediction: Tensor, images: Tensor, grid: Grid, window: Tensor) -> Tensor:
    """Mean power per pixel of ``prediction - images`` ``(b h w)`` in every shell ``(s)``; white unit noise gives 1.

    It is that inside a ``window`` ``(h h)``, per effective pixel: a shell of n coefficients has ``n mean(window²)``
    independent ones there. Neighbours, and what an image was padded with, have no part in it.
    """
    inside = fourier.windowed(prediction - images, window, 2)
    power = inside.abs().square().mean(dim=0) / window.square().mean()
    return fourier.shell_mean(power, grid, 2) / grid.box**2


def noise_weights(power: Tensor, grid: Grid) -> Tensor:
    """Weights ``(h w)`` that make ``sum |difference|² weights`` twice the negative log-likelihood of the images.

    They are ``1 / power`` per coefficient, counted once for each of a conjugate pair, divided by the number of pixels,
    and zero beyond Nyquist, where the corners of the transform hold no whole shell.
    """
    return _counts(power, grid) / fourier.spread_shells(power.clamp(min=LEAST), grid, 2) / grid.box**2


def coefficient_weights(power: Tensor, grid: Grid) -> Tensor:
    """One over the ``power`` ``(s)`` of the noise of every coefficient ``(h w)``, zero from the Nyquist shell on.

    Where :func:`noise_weights` counts pairs of conjugates, operators on images act on each coefficient once.
    """
    hermitian = noise_weights(torch.ones_like(power), grid)
    return torch.where(hermitian > 0, noise_weights(power, grid) / hermitian.clamp(min=1e-30), 0.0)


def alternate_shells(grid: Grid, device: torch.device) -> Tensor:
    """0 and 1 by turns for every few shells, ``(h w)``: two sides of an image with noise of their own."""
    return grid.shells(2, device) // SHELLS_TOGETHER % 2


def log_normaliser(power: Tensor, grid: Grid) -> Tensor:
    """``½ Σ n log P`` over the shells, ``()``: with it the loss under one noise compares with that under another.

    The negative log-likelihood of an image is this, half the sum that :func:`noise_weights` weighs, and ½ log 2π for
    each of the n coefficients that count.
    """
    return 0.5 * (_counts(power, grid) * fourier.spread_shells(power.clamp(min=LEAST), grid, 2).log()).sum()


def shell_counts(grid: Grid, device: torch.device) -> Tensor:
    """How many coefficients of an image each shell has that count, ``(s)``."""
    return fourier.shell_sum(_counts(torch.ones(1, device=device), grid).clamp(max=1.0), grid, 2)


def _counts(power: Tensor, grid: Grid) -> Tensor:
    """How many coefficients of a whole transform one of the rfft stands for, 0 beyond Nyquist, ``(h w)``."""
    inside = grid.shells(2, power.device) < grid.n_shells - 1
    return torch.where(inside, fourier.hermitian_weights(grid, 2, power.device), 0.0)
