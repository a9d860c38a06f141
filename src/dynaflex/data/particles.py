"""The particles of a data set: poses, optics, halves and images, from a RELION or cryoSPARC file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dynaflex.data.columns import ParticleColumns
from dynaflex.data.foreign.tables import read_table
from dynaflex.data.halves import assign_halves
from dynaflex.data.image_files import ImageFiles, find_images
from dynaflex.data.optics import REFINED, check_ranges, ctf_fields, pixel_sizes, shifts, treatment
from dynaflex.data.sampling import on_one_grid
from dynaflex.data.treatment import Treatment
from dynaflex.data.views import views_of_halves
from dynaflex.errors import InputError, Words
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams
from dynaflex.imaging.pose import Pose
from dynaflex.io.foreign.cs import looks_like_cs
from dynaflex.io.star import StarFile
from dynaflex.rotations import euler_to_matrix
from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray, Tensor

CLASS = "rlnClassNumber"
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")


@dataclass(frozen=True)
class Exclusion:
    """A particle of the table that is not used: its row (from 0) and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class Particles:
    """The particles in use. Rows are counted from 0 in ``source.blocks[particles_block]``.

    ``rows``, ``half`` (1 or 2) and ``group`` (optics group) are ``(p)``; ``pose`` and ``ctf`` are float64. Used plus
    ``excluded`` is the whole table, unless the particles were :meth:`take` n from a larger set. There
    are ``copies`` rows for each row of the file, more than one after an expansion by symmetry. Of tilt series a row is
    an image, and ``tilted`` ``(p)`` the particle that it shows, whose images follow one another; None elsewhere.
    """

    source: StarFile
    particles_block: str
    rows: IntArray
    pose: Pose
    ctf: CtfParams
    half: IntArray
    group: IntArray
    files: ImageFiles
    treatment: Treatment
    grid: Grid
    excluded: tuple[Exclusion, ...]
    warnings: tuple[str, ...]
    copies: int = 1
    tilted: IntArray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def image(self) -> IntArray:
        """Which image shows each particle, ``(p)``; copies by symmetry have one, otherwise it is its own number."""
        return self.files.numbers()

    @cached_property
    def particle(self) -> IntArray:
        """Which particle each row shows, ``(p)``, from 0: all images of a tilt series show one, and all copies do."""
        return self.image if self.tilted is None else np.unique(self.tilted, return_inverse=True)[1].reshape(-1)

    @property
    def distinct(self) -> int:
        """How many particles there are, however many copies or images of them."""
        return int(self.particle.max(initial=-1)) + 1

    @cached_property
    def originals(self) -> IntArray:
        """The first position ``(p)`` of the particle that each row shows."""
        return np.asarray(np.unique(self.particle, return_index=True)[1][self.particle])

    @property
    def conformations(self) -> IntArray:
        """A position for each conformation that is looked for: of a tilt series its first image, else every row."""
        return np.arange(len(self)) if self.tilted is None else np.unique(self.originals)

    @property
    def image_paths(self) -> tuple[Path, ...]:
        """The stacks that hold the images."""
        return tuple(stack.path for stack in self.files.stacks)

    @property
    def words(self) -> Words:
        """What the user's file calls things, for messages."""
        return self.source.words

    @property
    def image_root(self) -> Path | None:
        """The folder that image names are relative to: as ``datadir`` it leads to the same images from anywhere.

        None where there is no such folder.
        """
        return self.files.root

    def take(self, index: IntArray | BoolArray) -> Particles:
        """The particles at ``index`` (positions, or a mask ``(p)``), in that order."""
        positions = np.flatnonzero(index) if index.dtype == np.bool_ else np.asarray(index, dtype=np.int64)
        chosen = torch.from_numpy(positions)
        return replace(
            self,
            rows=self.rows[positions],
            pose=self.pose[chosen],
            ctf=self.ctf[chosen],
            half=self.half[positions],
            group=self.group[positions],
            files=self.files.take(positions),
            treatment=self.treatment.take(positions),
            tilted=None if self.tilted is None else self.tilted[positions],
        )

    def images(self, index: IntArray) -> Tensor:
        """The images at positions ``index`` ``(b)``, as they are on disk wherever that is on ``grid``, ``(b h h)``.

        Float32. Images of another sampling are brought to ``grid``, and those that the table calls black are negated.

        Raises:
            InputError: an image with NaN or infinite values, or with one value everywhere.
        """
        raw = self.unchecked_images(index)
        for fault in self.image_faults(index, raw):
            raise fault
        return torch.from_numpy(raw)

    def restored(self, images: Tensor, index: IntArray, diameter: float) -> Tensor:
        """The ``images`` ``(b h h)`` at positions ``index`` as a model of them is: CTF times projection, plus noise.

        The ice is levelled by what lies outside a circle of ``diameter`` Å, and what the table says was done is undone.

        Raises:
            UsageError: the circle leaves no background.
        """
        chosen = np.asarray(index, dtype=np.int64)
        ctf = self.ctf[torch.from_numpy(chosen)].to(torch.device("cpu"))
        return self.treatment.take(chosen).undone(images, ctf, self.grid, diameter)

    def unchecked_images(self, index: IntArray) -> FloatArray:
        """The images at positions ``index`` ``(b)`` whatever their values, float32 ``(b h h)``."""
        return self.files.read(np.asarray(index, dtype=np.int64), self.grid)

    def image_faults(self, index: IntArray, images: FloatArray) -> list[InputError]:
        """An error for each of ``images`` ``(b h h)``, at positions ``index``, that cannot be used."""
        # A minimum is NaN where any value is, and infinite values are extreme ones: two passes tell all.
        lowest, highest = images.min(axis=(1, 2)), images.max(axis=(1, 2))
        finite, faults = np.isfinite(lowest) & np.isfinite(highest), []
        for i in np.flatnonzero(~finite | (lowest == highest)):
            stack, number, row = self.image_of(int(index[i]))
            problem = "has the same value everywhere" if finite[i] else "has NaN or infinite values"
            faults.append(InputError(
                "particles.bad-image", f"image {number} {problem}",
                file=stack, expected="finite values that vary", found=row,
                fix="remove this particle from the table, or extract it again",
            ))  # fmt: skip
        return list(map(self.words.error, faults))

    def image_of(self, position: int) -> tuple[Path, int, str]:
        """Where the image of a particle lies, for messages: its stack, its number there from 1, its row in words."""
        row = f"particle row {int(self.rows[position]) // self.copies} of {self.source.path}"
        return self.image_paths[self.files.stack[position]], int(self.files.index[position]) + 1, row


def read_particles(
    path: Path | str,
    datadir: Path | None = None,
    seed: int = 0,
    *,
    class_number: int | None = None,
    grid: Grid | None = None,
    strip_prefix: str | None = None,
) -> Particles:
    """Read a particle STAR file of RELION 3.0 to 5, an optimisation set of RELION 5's tomography, or a ``.cs`` file of
    cryoSPARC, and find its images.

    A value of the particle table wins over that of the optics table. A particle whose pose or optics is not a number is
    excluded and listed, and so is one of another class where ``class_number`` is given (from 1 in ``rlnClassNumber``,
    from 0 in a ``.cs`` file). Halves are ``rlnRandomSubset``, or drawn with ``seed``. ``datadir`` is a folder to look
    for image files in, ``strip_prefix`` a beginning that is dropped from their names. ``grid`` is that of the map:
    where optics groups differ in pixel size or box, all images are brought to it.

    Raises:
        InputError: anything that makes the table unusable, with the file, column, row and remedy.
    """
    star = read_table(path, class_number, datadir)
    with star.words.spoken():
        return _particles_of(star, datadir, seed, class_number, grid, strip_prefix)


def _particles_of(
    star: StarFile,
    datadir: Path | None,
    seed: int,
    class_number: int | None,
    grid: Grid | None,
    strip_prefix: str | None,
) -> Particles:
    columns = ParticleColumns.of(star)
    wanted = class_number
    if wanted is not None and looks_like_cs(star.path):
        # A table of one class has no column to choose by; one of several counts them from 1 once it is translated.
        wanted = wanted + 1 if CLASS in columns else None
    warnings = list(star.notices)
    columns.require(_ANGLES, "a pose", REFINED)
    ctf = ctf_fields(columns)
    treated = treatment(columns, warnings)
    ctf["scale"] = ctf["scale"] * treated.fainter
    pixel_size, source = pixel_sizes(columns, warnings)
    degrees = np.stack([columns.number(name) for name in _ANGLES], axis=1)
    shift = treated.straight(shifts(columns, pixel_size, warnings))
    excluded = sorted(
        [
            *_unusable(columns, degrees, shift, ctf | {"magnification": treated.magnification}),
            *_other_classes(columns, wanted, warnings),
        ],
        key=lambda exclusion: exclusion.row,
    )
    rows = np.setdiff1d(np.arange(len(columns)), np.array([e.row for e in excluded], dtype=np.int64))
    if not len(rows):
        raise InputError(
            "particles.none-left", "no particle can be used",
            file=star.path, found=f"row 0: {excluded[0].reason}",
            fix="use the particle table of a 3D refinement (run_data.star)",
        )  # fmt: skip
    check_ranges(columns, ctf, rows, warnings)
    if excluded:
        first = excluded[0]
        warnings.append(f"{len(excluded)} of {len(columns)} particles excluded, first row {first.row}: {first.reason}")
    tilted = columns.tilted()
    images = find_images(columns, pixel_size, datadir, strip_prefix)
    if star.whole_stacks:
        images.require_whole(columns)
    files, common = on_one_grid(columns, images, rows, source, grid, warnings)
    half = assign_halves(columns.particles, seed, warnings, star.path)[rows]
    rotation = euler_to_matrix(torch.from_numpy(np.deg2rad(degrees[rows])))
    told = (views.warning(whose) for whose, views in views_of_halves(rotation.numpy(), half).items())
    warnings += [warning for warning in told if warning is not None]
    return Particles(
        source=star,
        particles_block=columns.block,
        rows=rows,
        pose=Pose(rotation, torch.from_numpy(shift[rows])),
        ctf=CtfParams.of({name: torch.from_numpy(values[rows]) for name, values in ctf.items()}),
        half=half,
        group=columns.group[rows],
        files=files.take(rows),
        treatment=treated.take(rows),
        grid=common,
        excluded=tuple(excluded),
        warnings=tuple(map(star.words.said, warnings)),
        tilted=None if tilted is None else tilted[rows],
    )


def _other_classes(columns: ParticleColumns, wanted: int | None, warnings: list[str]) -> list[Exclusion]:
    """The particles that are not of the class ``wanted``; a table of several classes without a choice is a warning."""
    if CLASS not in columns:
        if wanted is not None:
            columns.require((CLASS,), "choosing a class", "leave out --class")
        return []
    classes = columns.number(CLASS)
    counts = {int(k): int((classes == k).sum()) for k in np.unique(classes[np.isfinite(classes)])}
    listed = ", ".join(f"class {columns.words.counted(CLASS, k)}: {n}" for k, n in counts.items())
    if wanted is None:
        if len(counts) > 1:
            warnings.append(f"the particles were sorted into {len(counts)} classes ({listed}); --class K takes one")
        return []
    if wanted not in counts:
        raise InputError(
            "particles.no-such-class", "no particle is of this class",
            file=columns.path, field=CLASS, expected=listed, found=columns.words.counted(CLASS, wanted),
            fix="--class with one of these",
        )  # fmt: skip
    others = np.flatnonzero(classes != wanted)
    named = {k: columns.words.counted(CLASS, k) for k in (*counts, wanted)}
    return [Exclusion(int(row), f"of class {named.get(classes[row])}, not {named[wanted]}") for row in others]


def _unusable(columns: ParticleColumns, degrees: Array, shift: Array, ctf: dict[str, Array]) -> list[Exclusion]:
    """The particles whose pose or optics is not finite, in the order of their rows."""
    values = {"Euler angles": degrees, "origin": shift} | {k.replace("_", " "): v for k, v in ctf.items()}
    reasons: dict[int, list[str]] = {}
    for name, column in values.items():
        for row in np.flatnonzero(~np.isfinite(column.reshape(len(columns), -1)).all(axis=1)):
            reasons.setdefault(int(row), []).append(name)
    return [Exclusion(row, f"not a finite number: {', '.join(reasons[row])}") for row in sorted(reasons)]
