"""Particles of RELION 5's tomography as a table of single images, so that all that follows is one path.

There a particle is a stack with one image for each tilt in which it is visible; where it lies and how it is turned in
the tomogram is in its row, how the tomogram was turned in the tilt series. Here each image has a row, with the pose and
the optics of both together, and the name of its particle, whose images are in one conformation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dynaflex.data.columns import PARTICLE, TOMOGRAM, ParticleColumns, particle_block
from dynaflex.data.foreign.tilt_series import OPTICS, TiltSeries, read_tilt_series
from dynaflex.data.image_paths import find_file
from dynaflex.data.optics import DOSE
from dynaflex.errors import InputError
from dynaflex.io.star import StarFile, read_star
from dynaflex.rotations import euler_to_matrix, matrix_to_euler
from dynaflex.shapes import Array, IntArray

_SET_PARTICLES, _SET_TOMOGRAMS = "rlnTomoParticlesFile", "rlnTomoTomogramsFile"
_VISIBLE = "rlnTomoVisibleFrames"
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_BEFORE = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
_ORIGIN = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")
_PLACE = ("rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateZAngst")
_OF_THE_STACK = (_VISIBLE, *_BEFORE, "rlnOriginZAngst", "rlnCtfImage", "rlnAngleTiltPrior", "rlnAnglePsiPrior")
"""What is said of a particle in the tomogram, and would be wrong of one of its images."""


def each_image(star: StarFile, datadir: Path | None) -> StarFile:
    """A table of two-dimensional stacks of tilt series, or an optimisation set that names one, with a row for each
    image; any other table as it is.

    Images of a particle follow one another, in the order of its stack. The pose of an image is that of its particle,
    turned as the tilt was: ``R(tilt) A(subtomogram) A(particle)``; its origin is that of the particle, projected; its
    defocus is that of the tilt where the particle lies.

    Raises:
        InputError: a file that belongs to it is not there, or does not fit.
    """
    tomograms = None if (listed := _set(star)) is None else _named(star, listed, _SET_TOMOGRAMS, datadir)
    star = read_stacks(star, datadir)
    block = particle_block(star)
    table = star.blocks[block]
    if _VISIBLE not in table:
        return star
    columns = ParticleColumns.of(star, in_stacks=True)
    columns.require((*_ANGLES, *_ORIGIN, *_PLACE, TOMOGRAM), "a particle in a tomogram", "use a table of RELION 5")
    if tomograms is None:
        tomograms = _tomograms_beside(star.path, datadir)
    flat = _flat(columns, read_tilt_series(tomograms, datadir, set(table[TOMOGRAM])))
    return replace(star, blocks={**star.blocks, block: flat}, whole_stacks=True)


def read_stacks(star: StarFile, datadir: Path | None) -> StarFile:
    """The particle table that an optimisation set names, or any other as it is.

    Raises:
        InputError: it is not there.
    """
    listed = _set(star)
    if listed is None:
        return star
    return replace(read_star(_named(star, listed, _SET_PARTICLES, datadir)), path=star.path)


def particle_names(table: pd.DataFrame) -> pd.Series[Any]:
    """The names of the particles of a table of stacks, RELION's or made as it makes them."""
    if PARTICLE in table:
        return table[PARTICLE]
    return table[TOMOGRAM] + [f"/{i + 1}" for i in range(len(table))]


def _set(star: StarFile) -> pd.DataFrame | None:
    """The one row of an optimisation set; None of another file."""
    return next((table for table in star.blocks.values() if _SET_PARTICLES in table), None)


def _named(star: StarFile, table: pd.DataFrame, label: str, datadir: Path | None) -> Path:
    """A file that an optimisation set names."""
    name = str(table[label].iloc[0]) if label in table else ""
    found = find_file(star.path, name, datadir) if name else None
    if found is None:
        raise InputError(
            "tomography.set", "a file of this optimisation set is not there",
            file=star.path, field=label, found=name or "no such label",
            fix="run from the project folder, or give it as --datadir",
        )  # fmt: skip
    return found


def _tomograms_beside(particles: Path, datadir: Path | None) -> Path:
    """The tomograms of a particle table that was given by itself: those of an optimisation set beside it that names it,
    or the only ones that lie there."""
    for path in sorted(particles.parent.glob("*optimisation_set.star")):
        star = read_star(path)
        for table in star.blocks.values():
            if Path(str(table.get(_SET_PARTICLES, pd.Series([""])).iloc[0])).name == particles.name:
                return _named(star, table, _SET_TOMOGRAMS, datadir)
    beside = particles.parent / "tomograms.star"
    if not beside.is_file():
        raise InputError(
            "tomography.no-tilt-series", "how the tilt series were taken is not in this table",
            file=particles, expected="an optimisation set or tomograms.star beside it",
            fix="give optimisation_set.star, of the same job, in place of this table",
        )  # fmt: skip
    return beside


def _flat(columns: ParticleColumns, series: dict[str, TiltSeries]) -> pd.DataFrame:
    """The particle table with a row for each image."""
    table = columns.particles
    names = particle_names(table)
    repeated = np.flatnonzero(names.duplicated())
    if repeated.size:
        raise InputError(
            "tomography.repeated-particle", "this particle is listed twice",
            file=columns.path, field=PARTICLE, row=int(repeated[0]), found=names.iloc[int(repeated[0])],
            fix="remove the copies; an expansion by symmetry is not supported for tilt series",
        )  # fmt: skip
    visible = [_visible(columns, row, series) for row in range(len(table))]
    counts = np.array([len(frames) for frames in visible])
    of = np.repeat(np.arange(len(table)), counts)
    number = np.arange(len(of)) - np.repeat(counts.cumsum() - counts, counts)
    flat = table.drop(columns=[name for name in _OF_THE_STACK if name in table]).iloc[of].reset_index(drop=True)
    stacks = table["rlnImageName"].to_numpy(dtype=object)[of]
    seen = _seen(columns, series, visible)
    flat[PARTICLE] = names.to_numpy(dtype=object)[of]
    flat["rlnImageName"] = [f"{i + 1:06d}@{stack}" for i, stack in zip(number, stacks, strict=True)]
    for name, (values, digits) in seen.items():
        flat[name] = np.array([f"{value:.{digits}f}" for value in values], dtype=object)
    return flat


def _visible(columns: ParticleColumns, row: int, series: dict[str, TiltSeries]) -> IntArray:
    """The tilts that a particle has images of."""
    text, tomogram = columns.particles[_VISIBLE].iloc[row], columns.particles[TOMOGRAM].iloc[row]
    flags = [part.strip() for part in text.strip("[]").split(",")]
    if len(flags) != len(series[tomogram]) or not set(flags) <= {"0", "1"}:
        raise InputError(
            "tomography.visible", "these are not the tilts of this tomogram",
            file=columns.path, field=_VISIBLE, row=row, expected=f"0 or 1 for each of {len(series[tomogram])} tilts",
            found=f"{len(flags)} values", fix="give the optimisation set of the job that wrote this table",
        )  # fmt: skip
    return np.flatnonzero(np.array(flags) == "1")


def _seen(
    columns: ParticleColumns, series: dict[str, TiltSeries], visible: list[IntArray]
) -> dict[str, tuple[Array, int]]:
    """The pose and the optics of every image, by RELION's names, with the digits to write."""
    part, before = (euler_to_matrix(torch.from_numpy(_angles(columns, names))) for names in (_ANGLES, _BEFORE))
    in_tomogram = (before @ part).numpy()
    origin = np.einsum("pij,pj->pi", before.numpy(), np.stack([columns.number(name) for name in _ORIGIN], axis=1))
    place = np.stack([columns.number(name) for name in _PLACE], axis=1) - origin
    rows: list[dict[str, Any]] = []
    for row, tomogram in enumerate(columns.particles[TOMOGRAM]):
        tilts, frames = series[tomogram], visible[row]
        turn = tilts.rotation[frames]
        defocus = tilts.defocus[frames].copy()
        defocus[:, :2] += tilts.slope * (turn @ place[row])[:, 2:]
        rows.append({
            "rotation": turn @ in_tomogram[row], "origin": (turn @ origin[row])[:, :2], "defocus": defocus,
            **{name: values[frames] for name, values in tilts.optics.items()},
        })  # fmt: skip
    all_of = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    euler = np.rad2deg(matrix_to_euler(torch.from_numpy(all_of["rotation"])).numpy())
    return {
        **{name: (euler[:, i], 6) for i, name in enumerate(_ANGLES)},
        **{name: (all_of["origin"][:, i], 6) for i, name in enumerate(_ORIGIN[:2])},
        **{name: (all_of["defocus"][:, i], 4) for i, name in enumerate(("rlnDefocusU", "rlnDefocusV"))},
        "rlnDefocusAngle": (all_of["defocus"][:, 2], 4),
        **{name: (all_of[name], 6) for name in (*OPTICS, DOSE)},
    }  # fmt: skip


def _angles(columns: ParticleColumns, names: tuple[str, ...]) -> Array:
    """Three Euler angles in radians ``(p 3)``, 0 where there are none."""
    angles: Array = np.deg2rad(np.stack([columns.number(name, 0.0) for name in names], axis=1))
    return angles
