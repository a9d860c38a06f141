"""Local resolution: the FSC of two half-maps seen through a small window that visits the molecule."""

from __future__ import annotations

import torch
from scipy.interpolate import RegularGridInterpolator

from dynaflex.grid import Grid
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation, resolution_at

WINDOW = 60.0
SPACING = 12.0
THRESHOLD = 0.5


def local_resolution(first: Tensor, second: Tensor, pixel_size: float, mask: Tensor) -> Tensor:
    """The resolution in Å at every voxel ``(d d d)``, where a window's FSC falls to 0.5; 0 outside the mask.

    The window is a raised cosine 60 Å wide, sampled every 12 Å inside the mask and interpolated linearly. At 0.5 the
    window's own correlation, which phase randomisation would correct, plays no part.
    """
    grid = Grid(first.shape[-1], pixel_size)
    box = min(grid.box, 2 * round(0.5 * WINDOW / pixel_size))
    window = _window(box)
    step = max(1, round(SPACING / pixel_size))
    stops = torch.arange(grid.box % step // 2, grid.box, step)
    worst = 2.0 * WINDOW
    values = torch.full((len(stops),) * 3, worst)
    frequencies = Grid(box, pixel_size).shell_frequencies()
    padded = [torch.nn.functional.pad(volume, (box // 2,) * 6) for volume in (first, second)]
    for i, j, k in (mask[stops][:, stops][:, :, stops] > 0.5).nonzero().tolist():
        z, y, x = (int(stops[n]) for n in (i, j, k))
        pieces = [volume[z : z + box, y : y + box, x : x + box] * window for volume in padded]
        found = resolution_at(frequencies, fourier_shell_correlation(pieces[0], pieces[1]), THRESHOLD)
        values[i, j, k] = min(worst, found) if found is not None else worst
    axis = stops.double().numpy()
    interpolate = RegularGridInterpolator((axis,) * 3, values.double().numpy(), bounds_error=False, fill_value=None)
    voxels = (mask > 0.5).nonzero()
    out = torch.zeros_like(first)
    out[tuple(voxels.T)] = torch.from_numpy(interpolate(voxels.double().numpy())).to(out.dtype).clamp(0.0, worst)
    return out


def _window(box: int) -> Tensor:
    radius = Grid(box, 1.0).radius_of_points().view(box, box, box) / (box / 2)
    return 0.5 + 0.5 * torch.cos(torch.pi * radius.clamp(max=1.0))
