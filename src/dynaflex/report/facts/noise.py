"""How the noise of optics groups differs, as the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dynaflex.report.facts.files import Record

NOISE_HEAD = ("optics groups", "coarse", "middle", "fine")
_LISTED = 8


def noise_rows(noise: Record) -> list[tuple[str, ...]]:
    """What the power of each group's noise is to that of all particles, in thirds of the frequencies of training.

    Groups that have one noise are a row. Both halves are averaged; of a group that only one half has, it is that one's.
    """
    of_groups: dict[str, list[list[float]]] = {}
    for name in ("half1", "half2"):
        half = noise.get(name)
        groups = half.get("groups") if isinstance(half, Mapping) else None
        for group, relative in groups.items() if isinstance(groups, Mapping) else ():
            of_groups.setdefault(str(group), []).append([float(value) for value in relative])
    rows: dict[tuple[str, ...], list[str]] = {}
    for group, curves in of_groups.items():
        # The shell of the mean and that of Nyquist are not those of an image's noise.
        thirds = np.array_split(np.mean(curves, axis=0)[1:-1], 3)
        rows.setdefault(tuple(f"{third.mean():.2f}" for third in thirds), []).append(group)
    return [(_listed(groups), *values) for values, groups in rows.items()]


def _listed(groups: list[str]) -> str:
    more = len(groups) - _LISTED
    return ", ".join(groups[:_LISTED]) + (f" and {more} more" if more > 0 else "")
