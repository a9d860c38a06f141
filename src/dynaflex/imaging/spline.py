"""The cubic B-spline that spreads points onto a grid, and how it is divided out again in Fourier space."""

from __future__ import annotations

import torch

from dynaflex.shapes import Tensor


def deconvolution(box: int, fine: int, dim: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What turns coefficients of spread points into those of point masses about the centre, for ``dim`` 2 or 3.

    In rfft layout, ``(h w)`` or ``(d d w)``. The unpaired Nyquist frequency is set to zero, as in
    :func:`dynaflex.fourier.pad_coefficients`.
    """
    last = torch.arange(box // 2 + 1, device=device, dtype=dtype)
    others = torch.fft.fftfreq(box, 1.0 / box, device=device, dtype=dtype)
    factor = _along(last, box, fine)
    for _ in range(dim - 1):
        factor = _along(others, box, fine).view(-1, *[1] * factor.ndim) * factor
    return factor


def _along(k: Tensor, box: int, fine: int) -> Tensor:
    sign = 1.0 - 2.0 * (k.abs() % 2)
    return torch.where(k.abs() < box / 2, sign / torch.sinc(k / fine) ** 4, 0.0)
