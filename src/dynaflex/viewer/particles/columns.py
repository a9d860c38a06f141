"""Columns that can be plotted, and those of the particle table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dynaflex.run.files import LATENT_COLUMN
from dynaflex.shapes import FloatArray, IntArray

_MOST_CLASSES = 12
_UNITS = {
    "rlnDefocusU": "Å", "rlnDefocusV": "Å", "rlnDefocusAngle": "°", "rlnPhaseShift": "°",
    "rlnAngleRot": "°", "rlnAngleTilt": "°", "rlnAnglePsi": "°", "rlnOriginXAngst": "Å", "rlnOriginYAngst": "Å",
    "rlnCoordinateX": "px", "rlnCoordinateY": "px", "rlnCtfMaxResolution": "Å", "rlnHelicalTrackLengthAngst": "Å",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One number per particle: its ``identifier`` in requests, its name and unit for people, and its ``kind``.

    The unit σ is the standard deviation of the prior of the latents.

    Kinds: ``latent`` and ``component`` are axes of a half's latent space; ``motion`` are axes that all particles have
    in common, and ``layout`` such that only particles have a place along; ``value`` has a scale; ``class`` has few
    different whole numbers, called by ``names`` from 0 if there are any, and ``cluster`` too, with NaN where a particle
    is in none.
    """

    identifier: str
    label: str
    unit: str
    kind: str
    names: tuple[str, ...] = ()


class TableColumns:
    """The columns of the particle ``table``, of its ``rows`` ``(N)``, that hold numbers or few different words."""

    def __init__(self, table: pd.DataFrame, rows: IntArray) -> None:
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return self._table.shape[1]

    def listed(self) -> list[Column]:
        """Those whose values differ; columns of words have 12 different ones at most."""
        found = []
        for i, name in enumerate(map(str, self._table.columns)):
            different = self._of(i).nunique()
            if name.startswith(LATENT_COLUMN) or different < 2:
                continue
            head = self._numbers_ahead(i)
            if head is None:
                if different <= _MOST_CLASSES:
                    found.append(Column(f"star{i + 1}", name, "", "class", self._words(i)[1]))
                continue
            few = different <= _MOST_CLASSES and bool((head % 1 == 0).all())
            found.append(Column(f"star{i + 1}", name, _UNITS.get(name, ""), "class" if few else "value"))
        return found

    def values(self, number: int) -> FloatArray | None:
        """A column ``(N)``: numbers, NaN where there is none, or the places of words among their names."""
        if self._numbers_ahead(number) is not None:
            return np.asarray(pd.to_numeric(self._of(number), errors="coerce"), dtype=np.float32)
        codes, names = self._words(number)
        return codes.astype(np.float32) if len(names) <= _MOST_CLASSES else None

    def _of(self, number: int) -> pd.Series:
        return self._table.iloc[self._rows, number]

    def _numbers_ahead(self, number: int) -> pd.Series | None:
        """The first of the column, if they are numbers."""
        head = pd.to_numeric(self._table.iloc[:200, number], errors="coerce")
        return None if head.isna().any() else head

    def _words(self, number: int) -> tuple[IntArray, tuple[str, ...]]:
        """The place of each word of a column among all words, and these, without the folder if that is the same."""
        codes, words = pd.factorize(self._of(number), sort=True)
        names = [str(word) for word in words]
        together = len({name.rpartition("/")[0] for name in names}) == 1
        return codes, tuple(name.rpartition("/")[2] if together else name for name in names)


def numbered(identifier: str, prefix: str, count: int) -> int | None:
    """Which of ``count`` things, from 0, is meant by a number from 1 behind ``prefix``; None if it is none of them."""
    digits = identifier.removeprefix(prefix)
    if digits == identifier or not (digits.isascii() and digits.isdigit()) or len(digits) > 6:
        return None
    return int(digits) - 1 if 1 <= int(digits) <= count and str(int(digits)) == digits else None
