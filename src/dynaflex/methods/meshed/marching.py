"""From coarse to fine: the band limit of the canonical map as training goes on."""

from __future__ import annotations

from dynaflex.grid import Grid


def band_limit(epoch: int, first: int, epochs: int, grid: Grid, coarsest: float, finest: float) -> int:
    """The highest Fourier shell of the map in an epoch, counted from 0.

    Up to epoch ``first`` it is that of the resolution ``coarsest`` in Å, from which both halves start. From there it
    rises linearly to ``finest`` times Nyquist at three quarters of the ``epochs``, so that the last quarter trains
    with the whole band.
    """
    lowest = grid.width / coarsest
    highest = max(finest * (grid.n_shells - 1), lowest)
    ramp = (epoch - first) / max(0.75 * epochs - first, 1.0)
    return int(lowest + (highest - lowest) * min(max(ramp, 0.0), 1.0))
