"""Paths as Python's users give them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

AnyPath = str | PathLike[str]


def optional(path: AnyPath | None) -> Path | None:
    """The path, if one is given."""
    return None if path is None else Path(path)
