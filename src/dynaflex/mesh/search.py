"""Which tetrahedron holds a point: exact for any mesh, with the work bounded by the boxes around the cells."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dynaflex.shapes import Tensor

# Barycentric coordinates are numbers around one: this is rounding, not a distance.
TOLERANCE = 1e-7

_MOST_BINS_ALONG_AN_AXIS = 128
_PAIRS_AT_ONCE = 1 << 21


def ranges(count: Tensor) -> tuple[Tensor, Tensor]:
    """Count from 0 to ``count[i] - 1`` for every i in turn: the numbers, and the i of each."""
    owner = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    return torch.arange(len(owner), device=count.device) - (count.cumsum(0) - count)[owner], owner


def find_cells(corners: Tensor, gradients: Tensor, offsets: Tensor, points: Tensor) -> Tensor:
    """The first cell that holds each point, ``(n)`` int64, or -1.

    ``corners`` ``(t 4 3)`` in Å; ``gradients`` ``(t 4 3)`` and ``offsets`` ``(t 4)`` give the barycentric coordinates
    ``G x + c`` of ``points`` ``(n 3)``; all float64. A point on a face lies in both cells.
    """
    none = len(corners)
    found = torch.full((len(points),), none, dtype=torch.int64, device=points.device)
    for cell, point in _candidates(corners, points):
        values = (gradients[cell] * points[point][:, None, :]).sum(dim=2) + offsets[cell]
        inside = (values >= -TOLERANCE).all(dim=1)
        found.scatter_reduce_(0, point[inside], cell[inside], "amin")
    return torch.where(found == none, -1, found)


def _candidates(corners: Tensor, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (cell, point), in portions: all that lie in the cell's box, and a few that do not.

    The points are sorted into cubic bins, so that those near a cell lie in a few runs, one for each row of bins.
    """
    low, high = corners.amin(dim=1), corners.amax(dim=1)
    slack = 1e-6 * float((high - low).amax())
    low, high = low - slack, high + slack
    origin = low.amin(dim=0)
    extent = high.amax(dim=0) - origin
    width = max(0.5 * float((high - low).mean()), float(extent.max()) / _MOST_BINS_ALONG_AN_AXIS)
    x_bins, y_bins, z_bins = (int(n) + 1 for n in extent / width)

    def bins(positions: Tensor) -> Tensor:
        return ((positions - origin) / width).floor().long()

    near = ((points >= origin) & (points <= origin + extent)).all(dim=1).nonzero()[:, 0]
    x, y, z = bins(points[near]).unbind(dim=1)
    bin_of_point, order = torch.sort((z * y_bins + y) * x_bins + x, stable=True)
    near = near[order]
    every = torch.arange(x_bins * y_bins * z_bins + 1, device=points.device)
    start = torch.searchsorted(bin_of_point, every)

    first, last = bins(low), bins(high)
    rows = last - first + 1
    row, cell = ranges(rows[:, 1] * rows[:, 2])
    y, z = first[cell, 1] + row % rows[cell, 1], first[cell, 2] + row // rows[cell, 1]
    line = (z * y_bins + y) * x_bins
    begin, end = start[line + first[cell, 0]], start[line + last[cell, 0] + 1]
    for part in _portions(end - begin):
        position, run = ranges((end - begin)[part])
        yield cell[part][run], near[begin[part][run] + position]


def _portions(count: Tensor) -> Iterator[slice]:
    """Consecutive slices of ``count``, each of which sums up to a bounded number."""
    portion = count.cumsum(0) // _PAIRS_AT_ONCE
    _, lengths = torch.unique_consecutive(portion, return_counts=True)
    end = 0
    for length in lengths.tolist():
        yield slice(end, end + length)
        end += length
