"""A run as cryoSPARC takes it: groups of particles and volumes, and a script that loads them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynaflex.data.columns import particle_block
from dynaflex.data.foreign.cs_table import UID
from dynaflex.io import durable
from dynaflex.io.foreign.cs import write_cs
from dynaflex.io.mrc import write_map
from dynaflex.products.cryosparc import external_job, groups
from dynaflex.products.cryosparc.records import (
    Records,
    input_records,
    made_from_cryosparc,
    records_in,
    with_single_alignment,
)
from dynaflex.products.space import ConformationSpace, conformation_space
from dynaflex.results.settings import config_of
from dynaflex.results.trained import load_half
from dynaflex.results.volumes import merged_map
from dynaflex.run.directory import Run
from dynaflex.run.files import has_map, read_latents, read_map, read_table
from dynaflex.shapes import Array, FloatArray

SCRIPT = "external_job.py"
_FORMER = "components of an earlier job, which the file had, are replaced by those of this run"


@dataclass(frozen=True)
class ForCryosparc:
    """What else is handed over: the table ``particles`` of cryoSPARC's import of particles that did not come from
    there, and a ``path`` ``(f k)`` through the latents of a ``half``."""

    particles: Path | None = None
    path: FloatArray | None = None
    half: int = 1


def to_cryosparc(run: Run, out: Path, named: Path, also: ForCryosparc) -> list[str]:
    """Write the groups into ``out``; what to do with them once that is ``named`` so, line by line.

    Raises:
        InputError: the particles' records are not there any more, or the table that is given has others.
    """
    space = conformation_space(run)
    lines = _write_particles(run, space, out, named, also)
    if also.path is not None:
        values = _values(space, run, also.path, also.half)
        groups.write_group(out, "latents", groups.components(run.identity or str(run.path), values),
                           f"{len(values)} frames of a path, in the components of the particles")  # fmt: skip
        lines.append(f"{named / 'latents.csg'}: the path, a row for each of its {len(values)} frames")
    _write_volumes(run, out)
    durable.copy(Path(external_job.__file__), out / SCRIPT)
    return [
        *lines,
        f"maps: {named / 'volume.csg'} with half-maps and mask, the same without motion in volume_noflex.csg",
        "in cryoSPARC: Import Result Group, a job for each .csg; or all in one External job:",
        f"  python {shlex.quote(str(named / SCRIPT))} PROJECT WORKSPACE --url http://HOST:PORT",
    ]


def _write_particles(run: Run, space: ConformationSpace, out: Path, named: Path, also: ForCryosparc) -> list[str]:
    of_halves = _write_latents(run, out)
    records = _records(run, also.particles)
    if records is None:
        _write_csv(run, out / "latents.csv")
        return [
            *of_halves,
            "the particles did not come from cryoSPARC and have no uid: latents.csv has them by image name. To have "
            "them there: Import Particle Stack with the STAR file of the run, then dynaflex export again with "
            "--particles and the .cs file of that job",
        ]
    class_number = config_of(run).class_number
    values = space.latents if space.shared else space.motion
    used, rest = (with_single_alignment(part, class_number) for part in (
        records.of(space.rows), records.without(space.rows)))  # fmt: skip
    what = "latents, in standard deviations of the prior" if space.shared else "motion in Å, rms over the molecule"
    groups.write_group(out, "particles", groups.with_components(used, values),
                       f"All particles of the run, with {values.shape[1]} components: {what}")  # fmt: skip
    lines = [f"{named / 'particles.csg'}: all {len(used)} particles; components_mode_0/value and on are {what}"]
    if any(name.startswith(groups.COMPONENTS) for name in used.dtype.names or ()):
        lines.append(_FORMER)
    if len(rest):
        groups.write_group(out, "excluded", rest, "Particles that the run did not use, as they were")
        lines.append(f"{named / 'excluded.csg'}: {len(rest)} particles that the run did not use")
    return [*lines, *of_halves]


def _records(run: Run, particles: Path | None) -> Records | None:
    if particles is not None:
        return records_in(run, particles)
    return input_records(run) if made_from_cryosparc(run) else None


def _values(space: ConformationSpace, run: Run, latents: FloatArray, half: int) -> Array:
    """Latents ``(f k)`` of a half in the components of the particles."""
    wide = latents.astype(np.float64)
    return wide if space.shared else space.motion_of(load_half(run, half), wide)


def _write_latents(run: Run, out: Path) -> list[str]:
    """The latents of each half by uid, where a uid is known: one scatter plot of two latent spaces that have nothing to
    do with each other would show structure that is none."""
    table, stored = _table(run), read_latents(run)
    if UID not in table or config_of(run).half_sets == "shared":
        return []
    uid = table[UID].to_numpy()[stored.rows].astype(np.uint64)
    for number in (1, 2):
        mine = stored.half == number
        rows = np.zeros(int(mine.sum()), dtype=[("uid", "<u8")])
        rows["uid"] = uid[mine]
        write_cs(out / f"latents_half{number}.cs", groups.with_components(rows, stored.mean[mine]))
    return [
        "latents_half1.cs and latents_half2.cs: the latents by uid, in units of the prior's standard deviation; each "
        "half has a latent space of its own, hence a file of its own"
    ]


def _write_volumes(run: Run, out: Path) -> None:
    """The maps with and without motion, their half-maps and the mask, and a group of each."""
    corrected = read_map(run, "map")
    box, pixel_size = corrected.box, corrected.pixel_size or 1.0
    halves = {1: "A", 2: "B"}
    files = {"map": "map.mrc", **{f"map_half_{letter}": f"map_half_{letter}.mrc" for letter in halves.values()}}
    for slot, name in {"map": "map", "map_half_A": "map_half1", "map_half_B": "map_half2"}.items():
        durable.copy(run.verified(f"maps/{name}.mrc"), out / files[slot])
    durable.copy(run.verified("maps/mask.mrc"), out / "mask.mrc")
    shown = "{} map of the particles of a flexible molecule, its half-maps and mask"
    groups.write_group(out, "volume", groups.maps(files | {"mask_refine": "mask.mrc"}, box, pixel_size),
                       shown.format("Corrected"))  # fmt: skip
    groups.write_group(out, "mask", groups.maps({"mask": "mask.mrc"}, box, pixel_size), "Mask of the maps")
    if not has_map(run, "rigid_half1"):
        return
    rigid = {slot: f"noflex_{name}" for slot, name in files.items()}
    merged, _ = merged_map(run, "rigid")
    write_map(out / rigid["map"], merged.numpy(), pixel_size, corrected.place)
    for number, letter in halves.items():
        durable.copy(run.verified(f"maps/rigid_half{number}.mrc"), out / rigid[f"map_half_{letter}"])
    groups.write_group(out, "volume_noflex", groups.maps(rigid | {"mask_refine": "mask.mrc"}, box, pixel_size),
                       shown.format("Rigid"))  # fmt: skip


def _write_csv(run: Run, path: Path) -> None:
    table, stored = _table(run), read_latents(run)
    columns: dict[str, Any] = {
        "row": stored.rows,
        "half": stored.half,
        "rlnImageName": table["rlnImageName"].to_numpy()[stored.rows],
    }
    columns |= {f"latent{k}": np.round(value.astype(np.float64), 6) for k, value in enumerate(stored.mean.T, 1)}
    durable.write_text(path, pd.DataFrame(columns).to_csv(index=False))


def _table(run: Run) -> pd.DataFrame:
    star = read_table(run)
    return star.blocks[particle_block(star)]
