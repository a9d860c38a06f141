"""A particle table of whatever kind, as one of single images in RELION's words."""

from __future__ import annotations

from pathlib import Path

from dynaflex.data.foreign.cryosparc import read_cryosparc
from dynaflex.data.foreign.relion_tomography import each_image
from dynaflex.io.foreign.cs import looks_like_cs
from dynaflex.io.star import StarFile, read_star


def read_table(path: Path | str, class_number: int | None = None, datadir: Path | None = None) -> StarFile:
    """The tables of a STAR file, with a row for each image where it lists tilt series, or those that RELION would have
    written for a ``.cs`` file. ``datadir`` is a folder to look for what belongs to tilt series in.

    Raises:
        InputError: the file is missing, damaged or something else.
    """
    path = Path(path)
    return read_cryosparc(path, class_number) if looks_like_cs(path) else each_image(read_star(path), datadir)
