"""Colours that mean the same in figures, in the explorer and in ChimeraX."""

from __future__ import annotations

from typing import Final

import numpy as np

from dynaflex.shapes import FloatArray

CORRECTED, RIGID = "#2f7fc1", "#8a929c"
HALVES: Final = {1: CORRECTED, 2: "#d07b1f"}
FROM_PARTICLES = "#3f9d6b"
COMBINED = "#8a5fb8"
ACCENT = "#c8502d"
DOMAINS = ("#5b84c4", "#e0913a", "#5aa469", "#c4546b", "#8a6bb8", "#5fa8b3")
"""Those of domains and clusters, from the first on; then the first again."""
NO_DOMAIN = "#9aa3ad"

SCALES: Final = {
    "scale": ("#4a55b8", "#2f86b8", "#35a38f", "#93bd4f", "#e3c229"),
    "motion": ("#b9c0c8", "#e3a33f", "#c4421e"),
    "resolution": ("#3a62c4", "#62b3c6", "#e6dfb4", "#dd7f3c"),
    "doubt": ("#b9c0c8", "#6f9bd8", "#3a56c4"),
}
"""Colours from the lowest to the highest value, evenly spaced. ``colours.js`` has the same."""
SCALE_OF: Final = {
    "displacement": "motion",
    "rms_displacement": "motion",
    "deformation_error": "doubt",
    "local_resolution": "resolution",
}
"""The scale of each quantity that surfaces are coloured by."""

# What is not far from zero means little by itself: a scale of it begins there.
_FROM_ZERO = ("displacement", "rms_displacement", "deformation_error")
_SMALLEST_RANGE = 0.1


def limits_of(quantity: str, values: FloatArray) -> tuple[float, float]:
    """Between which values the scale of a quantity runs where ``values`` ``(n)`` are seen: from their 2nd to their 98th
    percentile, some from zero."""
    if not values.size:
        return 0.0, _SMALLEST_RANGE
    low, high = (float(np.percentile(values, share)) for share in (2, 98))
    low = 0.0 if quantity in _FROM_ZERO else low
    return low, max(high, low + _SMALLEST_RANGE)


def domain_colour(name: int) -> str:
    """The colour of a domain, from 1; of what is in none, 0."""
    return DOMAINS[(name - 1) % len(DOMAINS)] if name > 0 else NO_DOMAIN


def frame_colours(count: int) -> list[str]:
    """A colour for each of so many conformations of a series, along ``scale``."""
    stops = np.array([rgb(colour) for colour in SCALES["scale"]])
    places = np.linspace(0.0, len(stops) - 1.0, count)
    mixed = np.stack([np.interp(places, range(len(stops)), part) for part in stops.T], axis=1)
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in mixed]


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of ``#rrggbb``, from 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
