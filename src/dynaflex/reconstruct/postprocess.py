"""From two half-maps to one map."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, map_coordinates, spline_filter

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

_POINTS_AT_ONCE = 1 << 20
_LEAST = 0.5
"""What the weights of a unit and its copies add up to at least, where there is anything: 1, but for rounding."""


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


def sharpen(volume: Tensor, grid: Grid, b_factor: float) -> Tensor:
    """The map ``(d d d)`` multiplied by ``exp(-B k² / 4)``, with B in Å²: negative sharpens, as in RELION."""
    squared = (grid.radius(3, volume.device) / grid.width).square()
    return fourier.inverse_transform(fourier.transform(volume, 3) * torch.exp(-0.25 * b_factor * squared), 3)


def symmetrise(volume: Tensor, group: Tensor) -> Tensor:
    """The mean of a map ``(d d d)`` over the rotations of a point group ``(g 3 3)`` about the origin.

    For finished maps only, half-maps one by one: a molecule that moves is not symmetric, its canonical map may be. The
    map is Fourier-padded to twice its box and read there by cubic splines, which leaves it intact up to Nyquist. Beyond
    the sphere that fits into the box, where rotations bring in nothing, it is 0.
    """
    return _mean_over(fourier.resize(volume.detach().cpu().float(), 2 * volume.shape[-1], 3), group).to(volume)


def from_unit(volume: Tensor, unit: Tensor, group: Tensor) -> Tensor:
    """The map of an assembly ``(d d d)`` with the asymmetric unit of ``volume`` ``(d d d)`` in place of all.

    ``unit`` ``(e e e)``, in any box of the same width, has weights that add up to 1 over the ``group`` ``(g 3 3)``.
    What lies beside it did not move along, is as blurred as it was, and would blur a mean over the group.
    """
    fine = 2 * volume.shape[-1]
    # Both are padded first: their product has twice the band, and would be aliased.
    weight = fourier.resize(unit.cpu(), fine, 3)
    weighted = fourier.resize(volume.detach().cpu().float(), fine, 3) * weight
    # Where cuts meet, weights that were read between voxels add up to a little more or less than 1.
    total = _mean_over(weight, group).clamp(min=_LEAST / len(group))
    return (_mean_over(weighted, group) / total).to(volume)


def _mean_over(padded: Tensor, group: Tensor) -> Tensor:
    """The mean over rotations ``(g 3 3)``, ``(d d d)``, of a map that was padded to ``(2d 2d 2d)``."""
    fine = Grid(padded.shape[-1], 0.5)
    grid = Grid(fine.box // 2, 1.0)
    spline = spline_filter(padded.numpy(), order=3, output=np.float32, mode="constant")
    inside = (grid.radius_of_points() <= grid.center).nonzero()[:, 0]
    points = grid.points(dtype=torch.float64)[inside]
    mean = torch.zeros(grid.box**3)
    for part in torch.arange(len(points)).split(_POINTS_AT_ONCE):
        for rotation in group.cpu().double():
            position = (points[part] @ rotation.T / fine.pixel_size + fine.center).flip(1)
            read = map_coordinates(spline, position.T.numpy(), order=3, mode="constant", prefilter=False)
            mean[inside[part]] += torch.from_numpy(read) / len(group)
    return mean.view((grid.box,) * 3)
