"""From how many sides the particles are seen. A direction of Fourier space that no view crosses is missing in the map,
and the FSC between its halves, which both lack it, does not show that.

A particle seen along v samples the directions of Fourier space across v. The density of samples over all directions,
relative to that of views from everywhere, is Baldwin and Lyumkis' (2020); so is the efficiency, its harmonic mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynaflex.rotations import on_spiral
from dynaflex.shapes import Array, IntArray

_DIRECTIONS = 1000
_LOOKED_AT = 5000
_FEWEST = 30
# A view samples what is within this sine of being across it, the width of a slice at a tenth of the way to Nyquist; of
# few particles wider, so that from everywhere each direction gets ten.
_WIDTH, _SAMPLES = 0.06, 10.0
# A direction counts as missing that has this part of the samples of an even set.
_MISSING = 0.02
# Views within 60° of an axis miss a ninth of all directions, side views none; the efficiency is 0.8 for side views, and
# 0.12 where nine of ten particles lie one way and the tenth any way.
_MOST_MISSING, _LEAST_EFFICIENCY = 0.05, 0.2


@dataclass(frozen=True)
class Views:
    """How well views cover all directions: the part that is ``missing``, the ``efficiency`` (1: even), and the ``axis``
    (x, y, z) of the map that most are near to, with the mean square of the cosine between (a third: even)."""

    missing: float
    efficiency: float
    axis: Array
    nearness: float

    def warning(self, whose: str) -> str | None:
        """What to say of a half whose views do not do; None where they do."""
        seen = (
            f": most are seen near the axis ({', '.join(f'{x:.2f}' for x in self.axis)})" if self.nearness > 0.5 else ""
        )
        advice = "resolution is lost there, which no FSC shows. If the particle is symmetric, give its --symmetry"
        if self.missing > _MOST_MISSING:
            return f"{whose} has no views for {100.0 * self.missing:.0f} % of all directions{seen}; {advice}"
        if self.efficiency < _LEAST_EFFICIENCY:
            return f"{whose} has views so uneven that some directions are hardly sampled{seen}; {advice}"
        return None


def views_of(rotation: Array) -> Views | None:
    """The views of particles with rotations ``(p 3 3)``; None of too few to tell."""
    if len(rotation) < _FEWEST:
        return None
    # The third row turns into the beam.
    view = rotation[:: -(-len(rotation) // _LOOKED_AT), 2]
    width = max(_WIDTH, _SAMPLES / len(view))
    # A direction and its opposite see the same: those of half a sphere are enough.
    heights = (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS
    density = (np.abs(on_spiral(heights) @ view.T) < width).mean(axis=1) / width
    spread, axes = np.linalg.eigh(view.T @ view / len(view))
    axis = axes[:, -1] * np.sign(axes[np.abs(axes[:, -1]).argmax(), -1])
    return Views(
        float((density < _MISSING).mean()),
        float(1.0 / (1.0 / np.maximum(density, _MISSING)).mean()),
        axis + 0.0,
        float(spread[-1]),
    )


def views_of_halves(rotation: Array, half: IntArray) -> dict[str, Views]:
    """The views of both halves, by name, of those that have enough particles."""
    found = {f"half {number}": views_of(rotation[half == number]) for number in (1, 2)}
    return {name: views for name, views in found.items() if views is not None}
