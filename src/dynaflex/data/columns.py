"""The particle table of a RELION STAR file, joined to its optics table, as arrays of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dynaflex.errors import InputError, Words
from dynaflex.io.star import StarFile
from dynaflex.shapes import Array, IntArray

PARTICLE, TOMOGRAM = "rlnTomoParticleName", "rlnTomoName"
"""Which particle of a tilt series an image shows, and in which tomogram that lies."""
_MISSING_VALUES = ("", "nan", "<na>", "none", "null")


@dataclass(frozen=True)
class ParticleColumns:
    """Every particle's values, by RELION's names: the particle table's own, else those of its optics group.

    ``group`` ``(p)`` is the number of the optics group, 1 in tables of RELION 3.0; ``_optics_row`` its row.
    """

    path: Path
    block: str
    particles: pd.DataFrame
    optics: pd.DataFrame | None
    group: IntArray
    words: Words
    _optics_row: IntArray

    @classmethod
    def of(cls, star: StarFile, *, in_stacks: bool = False) -> ParticleColumns:
        """Find the particle and optics tables of a file, in either order and of any RELION version.

        A row is an image, or where ``in_stacks`` a particle with a stack of two-dimensional images.

        Raises:
            InputError: no particle table, no particles, subtomograms, or an optics group that does not exist.
        """
        optics = star.blocks.get("optics")
        block = particle_block(star)
        particles = star.blocks[block]
        _refuse_subtomograms(star.path, particles, optics, in_stacks)
        if not len(particles):
            raise InputError(
                "star.no-particles",
                f"the table data_{block} has {len(particles.columns)} labels and no rows",
                file=star.path,
                expected="particles",
                fix="copy the file again, or use the table of a job that kept particles",
            )
        if optics is None or not len(optics):
            ones = np.ones(len(particles), dtype=np.int64)
            return cls(star.path, block, particles, None, ones, star.words, np.zeros_like(ones))
        group, optics_row = _optics_rows(star.path, particles, optics)
        return cls(star.path, block, particles, optics, group, star.words, optics_row)

    def __len__(self) -> int:
        return len(self.particles)

    def __contains__(self, name: str) -> bool:
        return name in self.particles or (self.optics is not None and name in self.optics)

    def require(self, names: tuple[str, ...], purpose: str, fix: str) -> None:
        """Raise an InputError that lists which of ``names`` are in neither table."""
        missing = [name for name in names if name not in self]
        if missing:
            raise InputError(
                "star.missing-column",
                f"{purpose} needs this column",
                file=self.path,
                field=missing[0],
                expected=" ".join(names),
                found=f"no {' '.join(missing)}",
                fix=fix,
            )

    def text(self, name: str) -> NDArray[Any]:
        """A column as strings, ``(p)``."""
        if name in self.particles:
            own: NDArray[Any] = self.particles[name].to_numpy(dtype=object)
            return own
        assert self.optics is not None
        shared: NDArray[Any] = self.optics[name].to_numpy(dtype=object)[self._optics_row]
        return shared

    def number(self, name: str, default: float = np.nan) -> Array:
        """A column as float64 ``(p)``, NaN where the file says so; ``default`` where neither table has it.

        Raises:
            InputError: a value that is not a number.
        """
        if name in self.particles:
            return _numbers(self.particles[name], self.path, name)
        if self.optics is not None and name in self.optics:
            return _numbers(self.optics[name], self.path, name)[self._optics_row]
        return np.full(len(self), default)

    def vector(self, name: str) -> Array:
        """A column of lists ``[a,b,…]`` as float64 ``(p, m)``, padded with zeros; ``(p, 0)`` where there is none.

        Raises:
            InputError: a value that is not a list of numbers.
        """
        if name not in self:
            return np.zeros((len(self), 0))
        codes, texts = pd.factorize(self.text(name))
        lists = []
        for i, text in enumerate(texts):
            try:
                lists.append([float(part) for part in text.strip("[]").split(",") if part.strip()])
            except ValueError as error:
                raise InputError(
                    "star.not-a-list",
                    "this value is not a list of numbers",
                    file=self.path,
                    field=name,
                    row=int(np.flatnonzero(codes == i)[0]),
                    expected="[a,b,…]",
                    found=text,
                    fix="correct this value",
                ) from error
        padded = np.zeros((len(lists), max(map(len, lists))))
        for row, values in zip(padded, lists, strict=True):
            row[: len(values)] = values
        vectors: Array = padded[codes]
        return vectors

    def tilted(self) -> IntArray | None:
        """The number of the particle that each image shows, ``(p)``; None where the table says nothing of tilt series.

        Raises:
            InputError: images of other particles lie between those of one.
        """
        if PARTICLE not in self:
            return None
        number: IntArray = pd.factorize(self.text(PARTICLE))[0].astype(np.int64)
        torn = np.flatnonzero(np.diff(number) < 0)
        if torn.size:
            row = int(torn[0]) + 1
            raise InputError(
                "tomography.torn", "the images of a particle do not follow one another",
                file=self.path, field=PARTICLE, row=row, found=self.text(PARTICLE)[row],
                fix="sort the table by this column",
            )  # fmt: skip
        return number


def particle_block(star: StarFile) -> str:
    """The block that is the particle table: ``particles`` since RELION 3.1, before that whichever lists images.

    Raises:
        InputError: no block lists images, or several do.
    """
    candidates = [name for name, table in star.blocks.items() if "rlnImageName" in table and name != "optics"]
    if "particles" in candidates or ("particles" in star.blocks and not candidates):
        candidates = ["particles"]
    if len(candidates) != 1:
        several = "several blocks list" if candidates else "no block lists"
        raise InputError(
            "star.no-particle-table",
            f"which images to use is not clear: {several} particle images",
            file=star.path,
            field="rlnImageName",
            expected="one block with this column",
            found="; ".join(f"data_{name}: {_kind(table)}" for name, table in star.blocks.items()),
            fix="use the particle table of a 3D refinement (run_data.star)",
        )
    table = star.blocks[candidates[0]]
    if "rlnImageName" not in table and not _is_tomography(table):
        raise InputError(
            "star.missing-column",
            "finding the images needs this column",
            file=star.path,
            field="rlnImageName",
            expected="rlnImageName",
            found=_kind(table),
            fix="use the particle table of a 3D refinement (run_data.star)",
        )
    return candidates[0]


def _kind(table: pd.DataFrame) -> str:
    """What a table lists, in words."""
    for label, kind in (
        ("rlnImageName", "particle images"),
        ("rlnCoordinateX", "positions on micrographs, as picked"),
        ("rlnMicrographMovieName", "movies"),
        ("rlnMicrographName", "micrographs"),
        ("rlnReferenceImage", "classes"),
        ("rlnOpticsGroup", "optics groups"),
    ):
        if label in table:
            return f"a table of {kind} ({len(table)} rows)"
    return f"a table of {len(table.columns)} other columns"


def _is_tomography(table: pd.DataFrame) -> bool:
    return any(str(name).startswith("rlnTomo") for name in table.columns) or "rlnCtfImage" in table


def _refuse_subtomograms(path: Path, particles: pd.DataFrame, optics: pd.DataFrame | None, in_stacks: bool) -> None:
    """Refuse particles that are no images: of tomography those can be read that lie in stacks, an image for each tilt,
    and those that have a row for each image."""
    tables = [particles] if optics is None else [particles, optics]
    flat = all("rlnImageDimensionality" not in t or set(t["rlnImageDimensionality"]) <= {"2"} for t in tables)
    images = in_stacks or (PARTICLE in particles and "rlnDefocusU" in particles)
    if flat and "rlnCtfImage" not in particles and (images or not any(map(_is_tomography, tables))):
        return
    raise InputError(
        "star.tomography",
        "this table lists subtomograms, which are not supported",
        file=path,
        expected="two-dimensional images",
        fix="extract these particles as 2D stacks in RELION 5, and give its optimisation_set.star",
    )


def _optics_rows(path: Path, particles: pd.DataFrame, optics: pd.DataFrame) -> tuple[IntArray, IntArray]:
    """The optics group of every particle, and its row in the optics table."""
    if "rlnOpticsGroup" not in particles and len(optics) == 1:
        zeros = np.zeros(len(particles), dtype=np.int64)
        return zeros + 1, zeros
    for table, kind in ((particles, "particle"), (optics, "optics")):
        if "rlnOpticsGroup" not in table:
            raise InputError(
                "star.missing-column",
                f"the {kind} table needs this column to join the two",
                file=path,
                field="rlnOpticsGroup",
                fix="use the particle table of a 3D refinement (run_data.star)",
            )
    known = _numbers(optics["rlnOpticsGroup"], path, "rlnOpticsGroup")
    group = _numbers(particles["rlnOpticsGroup"], path, "rlnOpticsGroup")
    if len(np.unique(known)) < len(known):
        raise InputError(
            "star.repeated-group",
            "an optics group is listed twice",
            file=path,
            field="rlnOpticsGroup",
            fix="number the groups anew, or remove the row that is too many",
        )
    order = np.argsort(known)
    place = np.searchsorted(known[order], group).clip(max=len(known) - 1)
    unknown = np.flatnonzero(known[order][place] != group)
    if unknown.size:
        row = int(unknown[0])
        raise InputError(
            "star.unknown-group",
            "this particle belongs to an optics group that is not in the optics table",
            file=path,
            field="rlnOpticsGroup",
            row=row,
            expected=" ".join(optics["rlnOpticsGroup"]),
            found=particles["rlnOpticsGroup"].iloc[row],
            fix="add the group to the optics table, or correct the particle's",
        )
    return group.astype(np.int64), order[place].astype(np.int64)


def _numbers(column: pd.Series[Any], path: Path, name: str) -> Array:
    values: Array = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    for row in np.flatnonzero(np.isnan(values)):
        if str(column.iloc[int(row)]).lower().lstrip("+-") not in _MISSING_VALUES:
            raise InputError(
                "star.not-a-number",
                "this value is not a number",
                file=path,
                field=name,
                row=int(row),
                expected="a number",
                found=repr(column.iloc[int(row)]),
                fix="correct this value, or remove the row",
            )
    return values
