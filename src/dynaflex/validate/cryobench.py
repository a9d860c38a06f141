"""CryoBench's measures of heterogeneity, by its own conventions, as functions of arrays.

Its Fourier shell ``i`` holds the radii from ``i - 1`` up to, but without, ``i``, so that shell 1 is the mean of the map
alone, and shell 0, which holds nothing, counts as 1. The area under the FSC curve is over frequencies in 1/pixel, and a
perfect map has an area of 0.5 - 1/box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from dynaflex.grid import Grid
from dynaflex.shapes import Array, FloatArray, Tensor

RADII = (0.01, 0.05, 0.1, 0.2)
"""Parts of the data set that count as a neighbourhood."""
_COMPARED = 4000


def neighbourhood_similarity(
    latents: Array | FloatArray, truth: Array, radii: Sequence[float] = RADII, seed: int = 0
) -> Array:
    """The share of each particle's neighbours in ``truth`` ``(p c)`` that are its neighbours in ``latents`` ``(p k)``.

    One mean for each of the ``radii``, which are parts of the data set, and for k particles that are 1/k more than a
    share: CryoBench counts a particle as its own neighbour, beside k others. So the truth itself has 1 + 1/k, and
    latents that know nothing as much as the radius and 1/k. At most 4,000 particles drawn with ``seed`` are compared.
    """
    drawn = np.random.default_rng(seed).permutation(len(truth))[:_COMPARED]
    counts = [max(1, round(radius * len(drawn))) for radius in radii]
    near = [_neighbours(values[drawn], max(counts)) for values in (truth, latents)]
    shares = []
    for count, radius in zip(counts, radii, strict=True):
        common = [np.intersect1d(a[:count], b[:count], assume_unique=True).size for a, b in zip(*near, strict=True)]
        shares.append(float(np.mean(common)) / count + 1.0 / max(1, round(radius * len(truth))))
    return np.array(shares)


def fsc_area(volume: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """The area under the FSC curve of two maps ``(d d d)``, within a ``mask`` if there is one."""
    if mask is not None:
        volume, truth = volume * mask, truth * mask
    box = volume.shape[0]
    shells = Grid(box, 1.0).radius(3).floor().long() + 1
    # Coefficients of the last axis other than the first stand for their conjugates as well.
    weight = torch.full(shells.shape, 2.0, dtype=torch.float64)
    weight[..., 0] = 1.0
    if box % 2 == 0:
        weight[..., -1] = 1.0
    a, b = (torch.fft.rfftn(values.double()) for values in (volume, truth))
    cross, first, second = (
        torch.zeros(int(shells.max()) + 1, dtype=torch.float64).index_add_(
            0, shells.flatten(), (part * weight).flatten()
        )
        for part in ((a * b.conj()).real, a.abs().square(), b.abs().square())
    )
    power = (first * second).sqrt()
    # Where a map holds nothing, its rounding errors correlate by chance.
    fsc = (cross / power.clamp(min=1e-12 * float(power.max())))[: box // 2]
    fsc[0] = 1.0
    return float(torch.trapezoid(fsc.abs(), torch.arange(len(fsc), dtype=torch.float64) / box))


def _neighbours(points: Array | FloatArray, count: int) -> Array:
    search = NearestNeighbors(n_neighbors=min(count, len(points) - 1)).fit(points)
    return np.asarray(search.kneighbors(return_distance=False))
