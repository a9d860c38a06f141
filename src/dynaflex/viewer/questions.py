"""What the page asks with, read strictly: numbers, rows of numbers, and choices among particles."""

from __future__ import annotations

import math

import numpy as np

from dynaflex.errors import InputError, UsageError
from dynaflex.shapes import BoolArray, FloatArray


def whole(text: str) -> int:
    """A number without sign or fraction.

    Raises:
        UsageError: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise UsageError("view.number", "this is not a whole number", found=text[:40])
    return int(text)


def numbers(text: str, count: int | None = None) -> list[float]:
    """Finite numbers with commas between them, perhaps so many.

    Raises:
        UsageError: they are not.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError("view.numbers", "these are not numbers", found=text[:40]) from error
    if not all(map(math.isfinite, found)) or (count is not None and len(found) != count):
        raise UsageError("view.numbers", "these are not as many finite numbers as expected", found=text[:40])
    return found


def rows(text: str) -> FloatArray:
    """Rows of numbers of one length, with a semicolon between rows; no rows if there is no text.

    Raises:
        UsageError: they are not.
    """
    found = [numbers(row) for row in text.split(";")] if text else []
    if len({len(row) for row in found}) > 1:
        raise UsageError("view.numbers", "these rows are not of one length", found=text[:40])
    return np.asarray(found, dtype=np.float32).reshape(len(found), -1 if found else 0)


def choice(content: bytes, count: int) -> BoolArray:
    """A bit for each of ``count`` particles ``(N)``, the first the lowest of its byte.

    Raises:
        InputError: there are bits for others.
    """
    chosen: BoolArray = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little").astype(bool)
    if len(chosen) - count not in range(8) or chosen[count:].any():
        raise InputError(
            "view.selection-size", "this selection is not of these particles",
            expected=count, found=f"up to {len(chosen)}", fix="load the page again",
        )  # fmt: skip
    return chosen[:count]
