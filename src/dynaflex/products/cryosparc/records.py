"""cryoSPARC's own records of the particles of a run: every column as it was, found again for each row of the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dynaflex.data.columns import particle_block
from dynaflex.data.foreign.cs_table import UID, places, read_records, with_columns
from dynaflex.data.halves import assign_halves
from dynaflex.errors import InputError, UsageError
from dynaflex.io.foreign.cs import looks_like_cs, read_cs
from dynaflex.products.cryosparc.matching import by_image
from dynaflex.results.settings import config_of
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import INPUT_CS, read_table
from dynaflex.shapes import BoolArray, IntArray

SINGLE = "alignments3D"


@dataclass(frozen=True)
class Records:
    """A table ``(n)`` of cryoSPARC, and the ``place`` ``(p)`` in it of every row of the run's table."""

    table: NDArray[np.void]
    place: IntArray

    def of(self, rows: IntArray) -> NDArray[np.void]:
        """The records of some rows of the run's table, in that order."""
        return self.table[self.place[rows]]

    def without(self, rows: IntArray) -> NDArray[np.void]:
        """All other records, in their own order."""
        left: BoolArray = np.ones(len(self.table), dtype=bool)
        left[self.place[rows]] = False
        return self.table[left]


def made_from_cryosparc(run: Run) -> bool:
    """Whether the particles of a run were given as cryoSPARC's table."""
    return run.files.has(INPUT_CS) or looks_like_cs(_given(run))


def input_records(run: Run) -> Records:
    """The records that a run was made from, as cryoSPARC wrote them, columns of passthrough files with them.

    ``alignments3D/split`` is added where halves had to be drawn: particles must stay in their half.

    Raises:
        UsageError: the run was not made from cryoSPARC's particles.
        InputError: it is older than the copy that runs keep, and the file is not there any more.
    """
    particles = _particles(run)
    if not made_from_cryosparc(run):
        raise UsageError(
            "select.not-cryosparc", "the particles of this run did not come from a cryoSPARC table",
            file=_given(run), expected="a run on a .cs file",
            fix="-o SUBSET.star; or dynaflex export RUN --to cryosparc --particles FILE.cs, the same particles there",
        )  # fmt: skip
    if run.files.has(INPUT_CS):
        found = Records(read_cs(run.verified(INPUT_CS)), np.arange(len(particles)))
    else:
        found = records_in(run, _given(run))
    return _halved(run, found, particles)


def records_in(run: Run, path: Path) -> Records:
    """The particles of a run in another table of cryoSPARC's, such as that of its import from the same STAR file: by
    uid where the run knows it, by name and number of the image elsewhere.

    Raises:
        InputError: the file is no such table, or lacks particles of the run.
    """
    particles, table = _particles(run), read_records(path)
    if UID in particles:
        place = places(particles[UID].to_numpy().astype(np.uint64), table["uid"])
    else:
        place = by_image(table, particles["rlnImageName"].tolist(), path, _project(run))
    lost = np.flatnonzero(place < 0)
    if lost.size:
        raise InputError(
            "cs.other-particles", "this table lacks particles of the run",
            file=path, expected=f"all {len(particles)} particles",
            found=f"{len(particles) - lost.size} of them; row {lost[0]}, {particles['rlnImageName'].iloc[lost[0]]}, "
            "is not there",
            fix="give the .cs file of Import Particle Stack from the STAR file that the run was made from",
        )  # fmt: skip
    return _halved(run, Records(table, place), particles)


def with_single_alignment(table: NDArray[np.void], class_number: int | None) -> NDArray[np.void]:
    """The table with ``alignments3D/*`` where it has only those of several classes: a refinement takes no others."""
    names = table.dtype.names or ()
    if f"{SINGLE}/pose" in names or class_number is None:
        return table
    apart = f"alignments_class_{class_number}/"
    columns = {name.replace(apart, f"{SINGLE}/"): table[name] for name in names if name.startswith(apart)}
    if not columns and f"{SINGLE}_multi/pose" in names:
        classes = table[f"{SINGLE}_multi/pose"].shape[1]
        columns = {
            name.replace("_multi/", "/"): table[name][:, class_number]
            for name in names
            if name.startswith(f"{SINGLE}_multi/") and table[name].shape[1:2] == (classes,)
        }
    return with_columns(table, columns)


def _halved(run: Run, records: Records, particles: pd.DataFrame) -> Records:
    """The records with ``alignments3D/split`` where no column says which half a particle is in."""
    table = records.table
    names = table.dtype.names or ()
    posed = [name.partition("/")[0] for name in names if (name.endswith("/pose") and "3D" in name) or "_class_" in name]
    if not posed or any(f"{group}/split" in names for group in posed):
        return records
    split = np.zeros(len(table), dtype="<u4")
    split[records.place] = assign_halves(particles, config_of(run).seed, []) - 1
    single = with_single_alignment(table, config_of(run).class_number)
    return replace(records, table=with_columns(single, {f"{SINGLE}/split": split}))


def _particles(run: Run) -> pd.DataFrame:
    star = read_table(run)
    return star.blocks[particle_block(star)]


def _inputs(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = run.read_json(PROVENANCE).get("inputs", {})
    return found


def _given(run: Run) -> Path:
    return Path(_inputs(run).get("particles", ""))


def _project(run: Run) -> Path | None:
    folder = _inputs(run).get("datadir")
    return None if folder is None else Path(folder)
