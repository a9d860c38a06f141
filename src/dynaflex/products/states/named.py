"""Which rows of a run's particle table a file means: the table itself, a part of it, or a list of numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dynaflex.data.columns import particle_block
from dynaflex.data.foreign.cs_table import UID
from dynaflex.data.foreign.relion_tomography import each_image, read_stacks
from dynaflex.data.foreign.tables import read_table as read_particle_table
from dynaflex.errors import InputError
from dynaflex.io.arrays import UNREADABLE, read_arrays
from dynaflex.io.star import read_star
from dynaflex.products.selection import read_rows
from dynaflex.results.settings import inputs_of
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import OURS, read_table
from dynaflex.shapes import IntArray

_IMAGE = "rlnImageName"
_SAME = (
    "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginX", "rlnOriginY",
    "rlnDefocusU", "rlnDefocusV",
)  # fmt: skip
"""What a row of the run says of its particle, in whatever digits another program has written it."""
_DIGITS = 1e-3


def rows_named(run: Run, path: Path) -> IntArray | None:
    """The rows ``(q)`` of the input table that a file names, in rising order, or None if it is the whole table.

    A list of rows from 0 is ``.txt``, one a line, or ``.npy``. Anything else is a particle table, of STAR or cryoSPARC:
    a particle is known by cryoSPARC's uid, by its image, or, where several rows share an image, by all columns. If
    every row of the run is in it, it is the run's own table, which may have moved; if only some are, it is a subset.

    Raises:
        InputError: the file cannot be read, a row is not of the run, or is named twice.
    """
    if path.suffix in (".txt", ".npy"):
        return np.unique(read_rows(path) if path.suffix == ".txt" else _numbers(path))
    known, asked = _particles(run, None), _particles(run, path)
    shared = [name for name in known if name in asked and not name.startswith(OURS)]
    for keys in (UID,), (_IMAGE,), tuple(shared):
        if set(keys) <= set(shared) and _keys(known, keys).is_unique:
            break
    else:
        keys = tuple(shared)
    rows = pd.Index(_keys(known, keys).drop_duplicates(keep=False)).get_indexer(_keys(asked, keys))
    _require_of_the_run(path, asked, rows)
    if len(rows) == len(known):
        return None
    _require_same_poses(path, known.iloc[rows], asked)
    return np.sort(rows).astype(np.int64)


def _particles(run: Run, path: Path | None) -> pd.DataFrame:
    """The particles of a table, or of the run's own copy of its input, every value as text."""
    if path is None:
        star = read_table(run)
    elif "tilted" in run.read_json(PROVENANCE).get("counts", {}):
        # A subset that has gone elsewhere was taken in the tilt series that the run knows.
        known = inputs_of(run)
        star = each_image(replace(read_stacks(read_star(path), known.datadir), path=known.particles), known.datadir)
    else:
        star = read_particle_table(path, run.config().get("class_number"))
    return star.blocks[particle_block(star)].reset_index(drop=True)


def _keys(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """What each row is known by."""
    return table[list(columns)].astype(str).agg("\t".join, axis=1)


def _numbers(path: Path) -> IntArray:
    try:
        (values,) = read_arrays(path).values()
    except UNREADABLE as error:
        raise InputError("select.no-rows", "this list cannot be read", file=path, found=error) from error
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values < 0).any():
        raise InputError(
            "state.no-rows", "these are no rows", file=path,
            expected="whole numbers (q) from 0", found=f"{values.dtype} {values.shape}",
            fix="save the numbers of the rows with numpy.save, those of a mask with numpy.flatnonzero",
        )  # fmt: skip
    return values.astype(np.int64)


def _require_same_poses(path: Path, known: pd.DataFrame, asked: pd.DataFrame) -> None:
    """Refuse a table whose particles were placed anew, or are others of the same name: its maps would not show that."""
    columns = [name for name in _SAME if name in known and name in asked]
    before, now = (table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float) for table in (known, asked))
    other = ~np.isclose(before, now, rtol=1e-5, atol=_DIGITS, equal_nan=True).all(axis=1)
    if other.any():
        raise InputError(
            "state.other-poses", "these rows are not as the run has them", file=path, row=int(other.argmax()),
            expected="the poses and defoci that the run was started with",
            found=f"{int(other.sum())} of {len(other)} rows with others",
            fix="start a run from this table; or list the rows that are meant, from 0, in a .txt file",
        )  # fmt: skip


def _require_of_the_run(path: Path, asked: pd.DataFrame, rows: IntArray) -> None:
    """Refuse a table with particles that the run does not have, or has once and the table twice."""
    strange = np.flatnonzero(rows < 0)
    twice = len(rows) - len(np.unique(rows)) if not strange.size else 0
    if strange.size or twice:
        first = strange[0] if strange.size else pd.Series(rows).duplicated().to_numpy().argmax()
        raise InputError(
            "state.other-particles", "this is neither the particle table of the run nor a part of it",
            file=path, row=int(first), expected="rows as dynaflex select writes them, or the whole table, moved",
            found=f"{len(strange) or twice} of {len(asked)} rows {'are not in the run' if strange.size else 'repeat'}, "
            f"{asked[_IMAGE].iloc[first]} first",
            fix="dynaflex select RUN -o SUBSET.star; or list rows of the run's table, from 0, in a .txt file",
        )  # fmt: skip
