"""Images of one half-set that are copies of images of the other, whatever they are called.

A copy shares its noise with the original. It may be moved by some pixels, scaled, and given another name and number.
The search has two steps: every image is sketched by the amplitudes of some Fourier coefficients, which do not change
when it moves, and the nearest sketches are found; then the images themselves are laid over each other, at every shift.
Only the finer half of the frequencies is looked at, where noise dominates and two views of one molecule differ.
"""

from __future__ import annotations

import torch

from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

SKETCH = 256
"""Coefficients per sketch."""
SIMILAR = 0.3
"""Correlation of two sketches that is worth a second look; those of independent noise have a deviation of 1/16."""
COPIED = 0.4
"""Correlation of two images, laid over each other, that noise of their own does not reach."""
NOISE = 0.1
"""Spread of the correlations of unlike sketches, up to which images are mostly noise: 1/16 for nothing else."""
_BAND = (0.45, 0.9)
_BLOCK = 4096


def sketch(images: Tensor) -> Tensor:
    """Sketches ``(b m)`` of images ``(b h h)``, with mean 0 and length 1; m is 256 or what the band has.

    The amplitudes of coefficients in the band, which are the same for every box, each over the mean of its shell.
    """
    grid = Grid(images.shape[-1], 1.0)
    shells = grid.shells(2, images.device)
    amplitude = torch.fft.rfft2(images).abs().flatten(1)
    count = torch.bincount(shells.flatten())
    mean = torch.zeros(len(images), len(count), device=images.device).index_add_(1, shells.flatten(), amplitude) / count
    chosen = _chosen(grid, images.device)
    values = amplitude[:, chosen] / mean[:, shells.flatten()[chosen]].clamp(min=1e-30)
    values = values - values.mean(dim=1, keepdim=True)
    return values / values.norm(dim=1, keepdim=True).clamp(min=1e-30)


def nearest(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """For every sketch of ``first`` ``(n m)`` the correlation with, and the index of, its nearest in ``second``
    ``(q m)``; both ``(n)``."""
    found = [(block @ second.T).max(dim=1) for block in first.split(max(1, _BLOCK * _BLOCK // max(1, len(second))))]
    return torch.cat([best.values for best in found]), torch.cat([best.indices for best in found])


def spread(first: Tensor, second: Tensor) -> float:
    """The root-mean-square correlation of sketches of one set with sketches of another, a thousand of each at most."""
    return float((first[:1000] @ second[:1000].T).square().mean().sqrt())


def overlay(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The highest correlation of images ``(b h h)`` of two sets, pair by pair, over all shifts, and where it is found.

    Returns the correlation ``(b)``, 1 for a copy and about the common area's share for a copy that was moved, and how
    many pixels (x, y) the image of ``second`` is displaced from that of ``first``, ``(b 2)``. The images are whitened
    and only the band counts; a copy of the other contrast counts as a copy.
    """
    grid = Grid(first.shape[-1], 1.0)
    band = _band(grid, first.device)
    one, two = (torch.fft.rfft2(images) * band for images in (first, second))
    one, two = (_white(coefficients, grid) for coefficients in (one, two))
    correlation = torch.fft.irfft2(one.conj() * two, s=(grid.box, grid.box))
    own = [torch.fft.irfft2(t.conj() * t, s=(grid.box, grid.box))[:, 0, 0] for t in (one, two)]
    flat = (correlation / (own[0] * own[1]).sqrt().clamp(min=1e-30)[:, None, None]).abs().flatten(1)
    peak, place = flat.max(dim=1)
    moved = torch.stack([place % grid.box, place // grid.box], dim=1)
    return peak, (moved + grid.box // 2) % grid.box - grid.box // 2


def _band(grid: Grid, device: torch.device) -> Tensor:
    radius = grid.radius(2, device) / (0.5 * grid.box)
    return (radius >= _BAND[0]) & (radius <= _BAND[1])


def _chosen(grid: Grid, device: torch.device) -> Tensor:
    """Coefficients of the band, as indices of the flattened transform; none that has its own conjugate beside it."""
    band = _band(grid, device)
    band[:, 0] = False
    places = band.flatten().nonzero()[:, 0]
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0)).to(device)
    return places[order[:SKETCH]]


def _white(coefficients: Tensor, grid: Grid) -> Tensor:
    """Every shell of every image ``(b h w)`` brought to unit power."""
    shells = grid.shells(2, coefficients.device).flatten()
    power = coefficients.abs().square().flatten(1)
    total = torch.zeros(len(power), int(shells.max()) + 1, device=power.device).index_add_(1, shells, power)
    mean = total / torch.bincount(shells)
    scale = torch.where(mean > 0, mean.clamp(min=1e-30).rsqrt(), 0.0)[:, shells]
    return coefficients * scale.view(coefficients.shape)
