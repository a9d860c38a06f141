"""Local resolution: how well two half-maps agree around every voxel, one Fourier band after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from scipy.ndimage import map_coordinates

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

THRESHOLD = 0.5
COARSEST = 40.0
"""The period in Å at which the coarsest band is centred, unless the molecule or the box is small."""

_STEP = 0.15
"""About the distance of bands in the logarithm of frequency; they reach twice as far to either side."""
_WINDOW = 1.0
"""Standard deviation of the window, in periods of the band."""
_CHANCE = 3.0
"""What chance gives is taken to be so many standard deviations."""
_SEEN = 1e-3
"""The share of a window that must lie inside the mask."""


@dataclass(frozen=True)
class LocalResolution:
    """``resolution`` in Å at every voxel ``(d d d)``, 0 outside the mask, and the ``filtered`` map ``(d d d)``."""

    resolution: Tensor
    filtered: Tensor


def local_resolution(first: Tensor, second: Tensor, pixel_size: float, mask: Tensor) -> LocalResolution:
    """Where around every voxel two half-maps ``(d d d)`` cease to agree, and their mean without what does not agree.

    In each band of frequencies the maps are correlated through a Gaussian window, one period of the band in standard
    deviation, that sees only what lies inside the ``mask`` ``(d d d)``: values hold right up to the surface. The
    resolution is where the correlation first falls below 0.5, where signal and noise of a half-map are equally strong.
    At 0.143, where the FSC of whole maps is read, windows this small could not tell signal from chance; where they see
    so little that they cannot at 0.5 either, it takes more than three standard deviations of chance. A voxel without
    agreement in any band has the period of the coarsest, 40 Å or less; none is finer than Nyquist.

    In the ``filtered`` map each band is multiplied by ``sqrt(2 c / (1 + c))``, the correlation of the maps' mean with
    the truth if ``c`` is what they correlate beyond chance.

    Time and memory grow with the cube around the mask: for 256 voxels a side 50 s of one core, 2 GB.
    """
    resolution, filtered = torch.zeros_like(first), torch.zeros_like(first)
    if bool((mask > 0.5).any()):
        room = _room(mask, pixel_size)
        inner = _resolve(first[room], second[room], pixel_size, mask[room])
        resolution[room], filtered[room] = inner.resolution, inner.filtered
    return LocalResolution(resolution, filtered)


def agreed(first: Tensor, second: Tensor, pixel_size: float, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Of two half-maps ``(d d d)`` what they agree on: each, in every band multiplied by the share of the power that is
    signal in the mean of both there.

    They are compared in the cube around the ``mask`` ``(d d d)``, 40 Å beyond it too, and agree on nothing elsewhere.
    """
    kept = torch.zeros_like(first), torch.zeros_like(second)
    room = _room(mask, pixel_size)
    grid = Grid(first[room].shape[-1], pixel_size)
    whole = [fourier.transform(half[room], 3) for half in (first, second)]
    for band, correlation, chance in _compared(first[room], second[room], grid, torch.ones_like(first[room])):
        signal = _signal(correlation, chance)
        for total, coefficients in zip(kept, whole, strict=True):
            total[room] += fourier.resize(band.of(coefficients) * signal, grid.box, 3)
    return kept


def _room(mask: Tensor, pixel_size: float) -> tuple[slice, ...]:
    """The smallest cube that holds the mask with the coarsest window around it, or the whole box."""
    inside = (mask > 0.01).nonzero()
    low, high = inside.min(dim=0).values, inside.max(dim=0).values + 1
    side = _even(int((high - low).max()) + 2 * math.ceil(_WINDOW * COARSEST / pixel_size), mask.shape[-1])
    start = ((low + high - side) // 2).clamp(0, mask.shape[-1] - side)
    return tuple(slice(int(first), int(first) + side) for first in start)


def _even(least: int, most: int) -> int:
    """An even number of samples that can be transformed fast, at most ``most``."""
    return min(most, 2 * next_fast_len(math.ceil(least / 2), real=True))


def _resolve(first: Tensor, second: Tensor, pixel_size: float, mask: Tensor) -> LocalResolution:
    """See :func:`local_resolution`."""
    grid = Grid(first.shape[-1], pixel_size)
    voxels = (mask > 0.5).nonzero()
    mean = fourier.transform(0.5 * (first + second), 3)
    filtered, periods, excess = torch.zeros_like(first), [], []
    for band, correlation, chance in _compared(first, second, grid, mask):
        where = (voxels.double() * (band.grid.box / grid.box)).T.numpy()
        beyond = correlation - chance.clamp(min=THRESHOLD)
        excess.append(torch.from_numpy(map_coordinates(beyond.numpy(), where, order=1, mode="grid-wrap")))
        periods.append(1.0 / band.frequency)
        filtered += fourier.resize(band.of(mean) * _signal(correlation, chance).sqrt(), grid.box, 3)
    resolution = torch.zeros_like(first)
    resolution[tuple(voxels.T)] = _first_crossing(torch.tensor(periods), torch.stack(excess), 1.0 / grid.nyquist)
    return LocalResolution(resolution, filtered)


def _compared(first: Tensor, second: Tensor, grid: Grid, mask: Tensor) -> Iterator[tuple[_Band, Tensor, Tensor]]:
    """Each band, and in it the :func:`_correlation` of two half-maps ``(d d d)`` and what chance can make of it."""
    a, b = (_prepared(half, grid, mask) for half in (first, second))
    inside = fourier.transform(mask, 3)
    for band in _bands(grid, float(mask.sum()) * grid.pixel_size**3):
        yield band, *_correlation(band.of(a), band.of(b), band.cropped(inside), band)


@dataclass(frozen=True)
class _Band:
    """Some Fourier shells with their ``weights`` ``(s)``, on the coarser ``grid`` that is enough for them.

    ``frequency`` in 1/Å is their middle, and ``samples`` the number of independent values that one Å³ of them holds.
    """

    full: Grid
    grid: Grid
    weights: Tensor
    frequency: float
    samples: float

    def of(self, coefficients: Tensor) -> Tensor:
        """The part in this band of a map with ``coefficients`` ``(d d w)``, ``(n n n)``."""
        return self.cropped(coefficients, fourier.spread_shells(self.weights[: self.grid.n_shells], self.grid, 3))

    def cropped(self, coefficients: Tensor, keep: Tensor | float = 1.0) -> Tensor:
        """The map on the band's own grid, its coefficients multiplied by ``keep``."""
        small = fourier.crop_coefficients(coefficients, self.grid.box, 3) * keep
        return fourier.inverse_transform(small, 3) * (self.grid.box / self.full.box) ** 3


def _bands(grid: Grid, volume: float) -> Iterator[_Band]:
    """Overlapping bands up to Nyquist whose weights add up to 1, for a molecule of some ``volume`` in Å³.

    The coarsest one, which includes all below it, is the first in which that volume has enough independent samples for
    chance to stay below the threshold, and in which the box has shells to tell bands apart.
    """
    shells = torch.arange(grid.n_shells, dtype=torch.float64)
    counts = fourier.shell_sum(torch.ones(grid.box, grid.box, grid.box // 2 + 1, dtype=torch.float64), grid, 3)
    # A band of this shape has about 8 pi step f³ independent values in one Å³.
    enough = (volume * 8.0 * math.pi * _STEP / (_CHANCE**2 * (THRESHOLD**-2 - 1.0))) ** (1.0 / 3.0)
    start = min(max(1.0 / COARSEST, 1.0 / enough, 4.0 / grid.width), 0.5 * grid.nyquist)
    number = round(math.log(grid.nyquist / start) / _STEP)
    step = math.log(grid.nyquist / start) / number
    place = (number + (shells / shells[-1]).clamp(min=1e-9).log() / step).clamp(min=0.0)
    distance = (place - torch.arange(number + 1)[:, None]).abs()
    weights = torch.where(distance < 2.0, torch.cos(0.25 * math.pi * distance).square(), 0.0)
    weights = weights / weights.sum(dim=0)
    for band in weights:
        squared = counts * band.square()
        even = band.square() / shells.clamp(min=1.0)
        last = int(band.nonzero()[-1])
        yield _Band(
            grid,
            grid.cropped(_even(math.ceil(2.2 * last) + 2, grid.box)),
            band.float(),
            start * math.exp(step * float(even @ place / even.sum())),
            float(squared.sum() ** 2 / (squared * band.square()).sum()) / grid.width**3,
        )


def _prepared(half: Tensor, grid: Grid, mask: Tensor) -> Tensor:
    """The coefficients ``(d d w)`` of a half-map, whitened, then masked.

    In this order the edge of the mask takes no strong low frequency into a weak high one, where it would correlate.
    """
    coefficients = fourier.transform(half, 3)
    power = fourier.shell_mean(coefficients.abs().square(), grid, 3)
    coefficients *= fourier.spread_shells(torch.where(power > 0, power.rsqrt(), 0.0), grid, 3)
    return fourier.transform(fourier.inverse_transform(coefficients, 3) * mask, 3)


def _correlation(a: Tensor, b: Tensor, inside: Tensor, band: _Band) -> tuple[Tensor, Tensor]:
    """The correlation ``(n n n)`` of two maps in a window around every voxel, and what chance can make of it.

    Both maps are divided by the square root of their local amplitude before, so that strong density in a corner of the
    window does not speak for the weak in its middle.
    """
    inside = inside.clamp(0.0, 1.0)
    width = _WINDOW / band.frequency
    radius = band.grid.radius(3) / band.grid.width
    wide, narrow = (torch.exp(-2.0 * (math.pi * sigma * radius) ** 2) for sigma in (width, width / math.sqrt(2.0)))

    def seen(values: Tensor, window: Tensor) -> Tensor:
        return fourier.inverse_transform(fourier.transform(inside * values, 3) * window, 3)

    share, narrow_share = (seen(torch.ones_like(a), window).clamp(min=_SEEN) for window in (wide, narrow))
    power = seen(a.square() + b.square(), narrow) / narrow_share
    even = power.clamp(min=1e-6 * float(power.max()) + 1e-30).pow(-0.25)
    a, b = a * even, b * even
    variances = seen(a.square(), wide).clamp(min=0.0) * seen(b.square(), wide).clamp(min=0.0)
    correlation = seen(a * b, wide) / variances.sqrt().clamp(min=1e-30)
    # A window's volume is (integral g)² / integral g²; the square of a Gaussian is the narrow one.
    volume = (4.0 * math.pi) ** 1.5 * width**3 * share.square() / narrow_share
    chance = _CHANCE / (band.samples * volume + _CHANCE**2).sqrt()
    hidden = share <= _SEEN
    return correlation.masked_fill(hidden, 0.0), chance.masked_fill(hidden, 1.0)


def _signal(correlation: Tensor, chance: Tensor) -> Tensor:
    """The share of the power that is signal in the mean of two half-maps, from their correlation beyond chance; its
    root is how that mean correlates with the truth."""
    signal = ((correlation - chance) / (1.0 - chance).clamp(min=1e-3)).clamp(0.0, 1.0)
    return 2.0 * signal / (1.0 + signal)


def _first_crossing(periods: Tensor, excess: Tensor, finest: float) -> Tensor:
    """The period ``(v)`` at which the ``excess`` ``(k v)`` over the threshold first ends, interpolated in frequency.

    The first of ``periods`` ``(k)`` where there is none to begin with, the ``finest`` where it does not end.
    """
    found = torch.full(excess.shape[1:], finest)
    ended = excess[0] <= 0.0
    found[ended] = periods[0]
    for before, period, above, below in zip(periods, periods[1:], excess, excess[1:], strict=False):
        here = ~ended & (below <= 0.0)
        share = above[here] / (above[here] - below[here])
        found[here] = before * (period / before) ** share
        ended |= here
    return found
