"""Centred real Fourier transforms, cropping and padding, shell averages and filters.

Images ``(... h h)`` and volumes ``(... d d d)`` have their origin at sample ``N // 2``; transforms have it at
coefficient 0 and the rfft layout of :class:`dynaflex.grid.Grid`.
"""

from __future__ import annotations

import torch

from dynaflex.grid import Grid
from dynaflex.shapes import Tensor


def transform(data: Tensor, dim: int) -> Tensor:
    """The Fourier transform over the last ``dim`` axes, with the phase origin at the centre of the box."""
    axes = tuple(range(-dim, 0))
    return torch.fft.rfftn(torch.fft.ifftshift(data, dim=axes), dim=axes)


def inverse_transform(coefficients: Tensor, dim: int) -> Tensor:
    """Undo :func:`transform`."""
    axes = tuple(range(-dim, 0))
    box = coefficients.shape[-2]
    return torch.fft.fftshift(torch.fft.irfftn(coefficients, s=(box,) * dim, dim=axes), dim=axes)


def windowed(coefficients: Tensor, window: Tensor, dim: int) -> Tensor:
    """The coefficients of real data times a real-space ``window`` with ``dim`` axes and its origin at the centre."""
    axes = tuple(range(-dim, 0))
    data = torch.fft.irfftn(coefficients, s=window.shape, dim=axes)
    return torch.fft.rfftn(data * torch.fft.ifftshift(window, dim=axes), dim=axes)


def crop_coefficients(coefficients: Tensor, box: int, dim: int) -> Tensor:
    """Keep the coefficients of a smaller even box: a low-pass to its Nyquist frequency."""
    old = coefficients.shape[-2]
    if box == old:
        return coefficients
    half = box // 2
    out = coefficients[..., : half + 1]
    for axis in range(-dim, -1):
        positive = out.narrow(axis, 0, half)
        negative = out.narrow(axis, old - half, half)
        out = torch.cat([positive, negative], dim=axis)
    return out


def pad_coefficients(coefficients: Tensor, box: int, dim: int) -> Tensor:
    """Embed the coefficients in those of a larger even box, without the unpaired Nyquist ones."""
    old = coefficients.shape[-2]
    if box == old:
        return coefficients
    half = old // 2
    out = coefficients[..., :half]
    missing = box // 2 + 1 - half
    out = torch.nn.functional.pad(torch.view_as_real(out), (0, 0, 0, missing))
    for axis in range(-dim - 1, -2):
        positive = out.narrow(axis, 0, half)
        negative = out.narrow(axis, half + 1, half - 1)
        shape = list(out.shape)
        shape[axis] = box - 2 * half + 1
        out = torch.cat([positive, out.new_zeros(shape), negative], dim=axis)
    return torch.view_as_complex(out.contiguous())


def resize(data: Tensor, box: int, dim: int) -> Tensor:
    """Fourier-crop or -pad real data to ``box`` samples a side; values, not sums, are preserved."""
    old = data.shape[-1]
    if box == old:
        return data
    change = crop_coefficients if box < old else pad_coefficients
    return inverse_transform(change(transform(data, dim), box, dim), dim) * (box / old) ** dim


def crop_images(images: Tensor, box: int) -> Tensor:
    """Fourier-crop images ``(b h h)`` to ``(b box box)``; pixel values keep their scale."""
    return resize(images, box, 2)


def shift(coefficients: Tensor, grid: Grid, displacement: Tensor) -> Tensor:
    """Move images with coefficients ``(b h w)`` by ``displacement`` (x, y) in Å ``(b 2)``."""
    kx, ky = grid.frequencies(coefficients.device)
    move = displacement.to(kx.dtype)
    angle = -2.0 * torch.pi * (move[:, 0, None, None] * kx + move[:, 1, None, None] * ky)
    return coefficients * torch.polar(torch.ones_like(angle), angle)


def hermitian_weights(grid: Grid, dim: int, device: torch.device | None = None) -> Tensor:
    """How many coefficients of the full transform one of the rfft stands for: 2, or 1 in the first and last column."""
    weights = torch.full((grid.box // 2 + 1,), 2.0, device=device)
    weights[0] = 1.0
    if grid.box % 2 == 0:
        weights[-1] = 1.0
    return weights.expand((grid.box,) * (dim - 1) + weights.shape)


def shell_sum(values: Tensor, grid: Grid, dim: int) -> Tensor:
    """Sum real rfft-layout values ``(... )`` over the Fourier shells up to Nyquist, counting both halves, ``(s)``."""
    shells = grid.shells(dim, values.device)
    weights = hermitian_weights(grid, dim, values.device)
    # What lies beyond Nyquist is counted, and left out: to select the others would be to wait for how many they are.
    total = torch.zeros(grid.n_shells + 1, dtype=values.dtype, device=values.device)
    return total.index_add_(0, shells.clamp(max=grid.n_shells).flatten(), (values * weights).flatten())[:-1]


def shell_mean(values: Tensor, grid: Grid, dim: int) -> Tensor:
    """Average real rfft-layout values over the Fourier shells up to Nyquist, ``(s)``."""
    return shell_sum(values, grid, dim) / shell_sum(torch.ones_like(values), grid, dim)


def spread_shells(shell_values: Tensor, grid: Grid, dim: int) -> Tensor:
    """Give every rfft coefficient its shell's value; beyond Nyquist, the last shell's."""
    return shell_values[grid.shells(dim, shell_values.device).clamp(max=grid.n_shells - 1)]


def low_pass(volume: Tensor, grid: Grid, resolution: float, edge_shells: float = 2.0) -> Tensor:
    """Low-pass a volume or image to ``resolution`` Å, with a cosine edge of ``edge_shells`` that ends there."""
    dim = 3 if volume.ndim == 3 else 2
    cutoff = grid.width / resolution
    radius = grid.radius(dim, volume.device)
    ramp = ((cutoff - radius) / edge_shells).clamp(0.0, 1.0)
    return inverse_transform(transform(volume, dim) * (0.5 - 0.5 * torch.cos(torch.pi * ramp)), dim)
