"""A subset of the particles as a table of its own: rows are left out, nothing else is changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from dynaflex.data.columns import PARTICLE, particle_block
from dynaflex.data.halves import assign_halves
from dynaflex.errors import InputError, UsageError
from dynaflex.io.durable import make_folder
from dynaflex.io.star import StarFile, read_star, write_star
from dynaflex.products.cryosparc.groups import write_subset as write_group_of
from dynaflex.products.cryosparc.records import input_records, made_from_cryosparc
from dynaflex.results.settings import inputs_of
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import OURS, read_table
from dynaflex.shapes import IntArray


@dataclass(frozen=True)
class Subset:
    """What a subset holds: how many particles of half 1 and of half 2, out of how many in the whole table.

    ``project`` is the folder from which the names of its images lead to them, where that is known: RELION is started
    there.
    """

    halves: tuple[int, int]
    total: int
    project: Path | None


def write_subset(run: Run, rows: IntArray, out: Path, about: str | None = None) -> Subset:
    """Write these rows of the input table, in its order, every value as it was written, with the optics table.

    What the run added is left out again, but for ``rlnRandomSubset`` where the table had none: particles must stay in
    their half. Of tilt series whole particles are written, with one row for each where RELION's table had that. A run
    on cryoSPARC's particles gives a ``.cs`` with the columns that it was made from, bit by bit, and a ``.csg`` beside
    it, which says what the subset is ``about``, unless ``out`` ends with ``.star``.

    Raises:
        UsageError: no row is left, or ``out`` ends with ``.cs`` and the particles are not cryoSPARC's.
        InputError: a row is not in the table, or that of the tilt series is not there any more.
    """
    star = read_table(run)
    block = particle_block(star)
    table = star.blocks[block]
    kept = np.unique(rows)
    if not len(kept):
        raise UsageError("select.empty", "no particle is selected, and nothing was written", file=out)
    if kept[-1] >= len(table):
        raise InputError(
            "select.beyond", "there is no such row in the particle table",
            file=star.path, expected=f"0 to {len(table) - 1}", found=int(kept[-1]),
            fix="count the rows from 0, the first of the input table",
        )  # fmt: skip
    if PARTICLE in table:
        star, block, table, kept = _of_whole_particles(run, table, kept)
    columns = [name for name in table.columns if not name.startswith(OURS)]
    subset = table.iloc[kept][columns]
    for_cryosparc = out.suffix in (".cs", ".csg") or (out.suffix != ".star" and made_from_cryosparc(run))
    records = input_records(run) if for_cryosparc else None
    make_folder(out.parent)
    if records is not None:
        write_group_of(out.with_suffix(".cs"), records.of(kept), about or f"{len(kept)} of {len(table)} particles")
    else:
        write_star(replace(star, blocks={**star.blocks, block: subset}), out)
    one = int((assign_halves(subset, 0, [], star.path) == 1).sum())
    return Subset((one, len(kept) - one), len(table), None if records is not None else project_of(run))


def _of_whole_particles(run: Run, images: pd.DataFrame, kept: IntArray) -> tuple[StarFile, str, pd.DataFrame, IntArray]:
    """The table of particles that a run on tilt series was made from, and the rows of those that some rows of the
    table of their ``images`` show."""
    # Whoever selects single particles does not wait for torch.
    from dynaflex.data.foreign.relion_tomography import particle_names, read_stacks

    inputs = inputs_of(run)
    star = read_stacks(read_star(inputs.particles), inputs.datadir)
    block = particle_block(star)
    table = star.blocks[block].copy()
    names = particle_names(table)
    if "rlnRandomSubset" not in table:
        halves = dict(zip(images[PARTICLE], images["rlnRandomSubset"], strict=True))
        table["rlnRandomSubset"] = names.map(halves)
    return star, block, table, np.flatnonzero(names.isin(set(images[PARTICLE].iloc[kept])))


def project_of(run: Run) -> Path | None:
    """The folder that the run found its images from, if the names in its table lead to them from there."""
    star = read_table(run)
    image = str(star.blocks[particle_block(star)]["rlnImageName"].iloc[0])
    known = run.read_json(PROVENANCE).get("inputs", {}).get("datadir")
    return Path(known) if known and (Path(known) / image.partition("@")[2]).is_file() else None
