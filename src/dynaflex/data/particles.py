"""The particles of a data set: poses, optics, halves and images, from a RELION STAR file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dynaflex.data.columns import ParticleColumns
from dynaflex.data.halves import assign_halves
from dynaflex.data.image_files import ImageFiles, find_images
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams
from dynaflex.imaging.pose import Pose
from dynaflex.io.star import StarFile, read_star
from dynaflex.rotations import euler_to_matrix
from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray, Tensor

_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_OPTICS = ("rlnDefocusU", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_PIXEL_SIZES = ("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize")
_MAGNIFICATION = {"rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0, "rlnMagMat11": 1.0}
_REFINED = "use the particle table of a 3D refinement (run_data.star)"


@dataclass(frozen=True)
class Exclusion:
    """A particle of the table that is not used: its row (from 0) and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class Particles:
    """The particles in use. Rows are counted from 0 in ``source.blocks[particles_block]``.

    ``rows``, ``half`` (1 or 2) and ``group`` (optics group) are ``(p)``; ``pose`` and ``ctf`` are float64. Used plus
    ``excluded`` is the whole table, unless the particles were :meth:`take` n from a larger set.
    """

    source: StarFile
    particles_block: str
    rows: IntArray
    pose: Pose
    ctf: CtfParams
    half: IntArray
    group: IntArray
    files: ImageFiles
    grid: Grid
    excluded: tuple[Exclusion, ...]
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def image_paths(self) -> tuple[Path, ...]:
        """The stacks that hold the images."""
        return tuple(stack.path for stack in self.files.stacks)

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
            files=replace(self.files, stack=self.files.stack[positions], index=self.files.index[positions]),
        )

    def images(self, index: IntArray) -> Tensor:
        """The images at positions ``index`` ``(b)`` as they are on disk, float32 ``(b h h)``.

        Raises:
            InputError: an image with NaN or infinite values, or with one value everywhere.
        """
        raw = self.unchecked_images(index)
        for fault in self.image_faults(index, raw):
            raise fault
        return torch.from_numpy(raw)

    def unchecked_images(self, index: IntArray) -> FloatArray:
        """The images at positions ``index`` ``(b)`` whatever their values, float32 ``(b h h)``."""
        index = np.asarray(index, dtype=np.int64)
        images = np.empty((len(index), self.grid.box, self.grid.box), dtype=np.float32)
        stack = self.files.stack[index]
        for code in np.unique(stack):
            here = np.flatnonzero(stack == code)
            images[here] = self.files.stacks[code].read(self.files.index[index[here]])
        return images

    def image_faults(self, index: IntArray, images: FloatArray) -> list[InputError]:
        """One error for each of ``images`` ``(b h h)``, at positions ``index``, that cannot be used."""
        # A minimum is NaN where any value is, and infinite values are extreme ones: two passes tell all.
        lowest, highest = images.min(axis=(1, 2)), images.max(axis=(1, 2))
        finite = np.isfinite(lowest) & np.isfinite(highest)
        faults = []
        for i in np.flatnonzero(~finite | (lowest == highest)):
            particle = int(index[i])
            number = int(self.files.index[particle]) + 1
            problem = "has the same value everywhere" if finite[i] else "has NaN or infinite values"
            faults.append(
                InputError(
                    "particles.bad-image",
                    f"image {number} {problem}",
                    file=self.image_paths[self.files.stack[particle]],
                    expected="finite values that vary",
                    found=f"particle row {int(self.rows[particle])} of {self.source.path}",
                    fix="remove this particle from the table, or extract it again",
                )
            )
        return faults


def read_particles(path: Path | str, datadir: Path | None = None, seed: int = 0) -> Particles:
    """Read a particle STAR file of RELION 3.0 to 5 and find its images.

    A value of the particle table wins over that of the optics table. A particle whose pose or optics is not a number is
    excluded and listed. Halves are ``rlnRandomSubset``, or drawn with ``seed``. ``datadir`` is a folder to look for
    image files in.

    Raises:
        InputError: anything that makes the table unusable, with the file, column, row and remedy.
    """
    star = read_star(path)
    columns = ParticleColumns.of(star)
    warnings: list[str] = []
    _refuse_corrected_images(columns)
    columns.require(_ANGLES, "a pose", _REFINED)
    columns.require(_OPTICS, "the CTF", f"{_REFINED}, or add the column")
    pixel_size, source = _pixel_sizes(columns, warnings)
    degrees = np.stack([columns.number(name) for name in _ANGLES], axis=1)
    shift = _shifts(columns, pixel_size, warnings)
    optics = _optics(columns, warnings)
    excluded = _unusable(columns, degrees, shift, optics)
    rows = np.setdiff1d(np.arange(len(columns)), np.array([e.row for e in excluded], dtype=np.int64))
    if not len(rows):
        raise InputError(
            "particles.none-left", "no particle can be used", file=star.path, found=f"row 0: {excluded[0].reason}"
        )
    _check_ranges(columns, optics, rows)
    if excluded:
        first = excluded[0]
        warnings.append(f"{len(excluded)} of {len(columns)} particles excluded, first row {first.row}: {first.reason}")
    files = find_images(columns, datadir)
    return Particles(
        source=star,
        particles_block=columns.block,
        rows=rows,
        pose=Pose(euler_to_matrix(torch.from_numpy(np.deg2rad(degrees[rows]))), torch.from_numpy(shift[rows])),
        ctf=CtfParams(**{name: torch.from_numpy(values[rows]) for name, values in optics.items()}),
        half=assign_halves(columns.particles, seed, star.path)[rows],
        group=columns.group[rows],
        files=replace(files, stack=files.stack[rows], index=files.index[rows]),
        grid=Grid(files.box, _one_pixel_size(columns, pixel_size[rows], source, rows)),
        excluded=tuple(excluded),
        warnings=tuple(warnings),
    )


def _refuse_corrected_images(columns: ParticleColumns) -> None:
    """Images that were already multiplied by a CTF or its sign obey another forward model than ours."""
    for name, what in (
        ("rlnCtfDataAreCtfPremultiplied", "multiplied by their CTF"),
        ("rlnCtfDataArePhaseFlipped", "phase-flipped"),
    ):
        flagged = np.flatnonzero(columns.number(name, 0.0) != 0.0)
        if flagged.size:
            raise InputError(
                "particles.corrected",
                f"these images were {what}, which is not supported",
                file=columns.path,
                field=name,
                row=int(flagged[0]),
                expected="0",
                fix="extract the particles without CTF correction",
            )


def _pixel_sizes(columns: ParticleColumns, warnings: list[str]) -> tuple[Array, str]:
    """Every particle's pixel size in Å, and the column it comes from."""
    for name in _PIXEL_SIZES:
        if name in columns:
            if name == "rlnMicrographOriginalPixelSize":
                warnings.append(f"the pixel size comes from {name}: it is wrong if the particles were downscaled")
            return columns.number(name), name
    columns.require(
        ("rlnDetectorPixelSize", "rlnMagnification"),
        "the pixel size (there is no rlnImagePixelSize)",
        "add rlnImagePixelSize (Å) to the table",
    )
    return columns.number("rlnDetectorPixelSize") * 1e4 / columns.number("rlnMagnification"), "rlnDetectorPixelSize"


def _one_pixel_size(columns: ParticleColumns, pixel_size: Array, source: str, rows: IntArray) -> float:
    middle = float(np.median(pixel_size))
    if not (np.isfinite(middle) and middle > 0.0):
        raise InputError(
            "particles.pixel-size", "no pixel size", file=columns.path, field=source, expected="Å > 0", found=middle
        )
    # A thousandth moves the edge of a box of 400 pixels by a fifth of a pixel.
    other = np.flatnonzero(~(np.abs(pixel_size - middle) <= 1e-3 * middle))
    if other.size:
        raise InputError(
            "particles.pixel-size",
            "the particles have different pixel sizes",
            file=columns.path,
            field=source,
            row=int(rows[other[0]]),
            expected=f"{middle:.5g} Å",
            found=f"{pixel_size[other[0]]:.5g} Å",
            fix="extract all particles with one box and pixel size, or use one optics group",
        )
    return middle


def _shifts(columns: ParticleColumns, pixel_size: Array, warnings: list[str]) -> Array:
    """The particle's centre in its image, Å, ``(p 2)``: minus RELION's origin."""
    angstroms, pixels = ("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY")
    in_angstroms = np.stack([columns.number(name) for name in angstroms], axis=1)
    in_pixels = np.stack([columns.number(name) for name in pixels], axis=1) * pixel_size[:, None]
    if all(name in columns for name in angstroms):
        if np.nanmax(np.abs(in_angstroms - in_pixels), initial=0.0) > 0.02 * np.nanmax(pixel_size):
            warnings.append("rlnOriginX/Y (pixels) contradict rlnOriginX/YAngst; the latter are used")
        return -in_angstroms
    if all(name in columns for name in pixels):
        return -in_pixels
    if any(name in columns for name in angstroms + pixels):
        columns.require(angstroms, "the position of the particle", _REFINED)
    warnings.append("no rlnOriginXAngst and rlnOriginYAngst: particles are taken to be centred")
    return np.zeros((len(columns), 2))


def _optics(columns: ParticleColumns, warnings: list[str]) -> dict[str, Array]:
    """The fields of CtfParams, with RELION's defaults where a column is missing."""
    stretch = max(float(np.nanmax(np.abs(columns.number(name, one) - one))) for name, one in _MAGNIFICATION.items())
    if stretch > 1e-4:
        warnings.append(f"anisotropic magnification (rlnMagMat) of up to {100 * stretch:.2g} % is not modelled")
    u = columns.number("rlnDefocusU")
    v = columns.number("rlnDefocusV") if "rlnDefocusV" in columns else u
    if "rlnDefocusAngle" not in columns and not np.array_equal(u, v, equal_nan=True):
        columns.require(("rlnDefocusAngle",), "astigmatism", f"{_REFINED}, or add the column")
    return {
        "defocus_u": u,
        "defocus_v": v,
        "defocus_angle": np.deg2rad(columns.number("rlnDefocusAngle", 0.0)),
        "voltage_kv": columns.number("rlnVoltage"),
        "cs_mm": columns.number("rlnSphericalAberration"),
        "amplitude_contrast": columns.number("rlnAmplitudeContrast"),
        "phase_shift": np.deg2rad(columns.number("rlnPhaseShift", 0.0)),
        "b_factor": columns.number("rlnCtfBfactor", 0.0),
        "scale": columns.number("rlnCtfScalefactor", 1.0),
        "beam_tilt": np.stack([columns.number("rlnBeamTiltX", 0.0), columns.number("rlnBeamTiltY", 0.0)], axis=1),
        "odd_zernike": columns.vector("rlnOddZernike"),
        "even_zernike": columns.vector("rlnEvenZernike"),
    }


def _unusable(columns: ParticleColumns, degrees: Array, shift: Array, optics: dict[str, Array]) -> list[Exclusion]:
    """The particles whose pose or optics is not finite, in the order of their rows."""
    values = {"Euler angles": degrees, "origin": shift} | {k.replace("_", " "): v for k, v in optics.items()}
    reasons: dict[int, list[str]] = {}
    for name, column in values.items():
        for row in np.flatnonzero(~np.isfinite(column.reshape(len(columns), -1)).all(axis=1)):
            reasons.setdefault(int(row), []).append(name)
    return [Exclusion(row, f"not a finite number: {', '.join(reasons[row])}") for row in sorted(reasons)]


def _check_ranges(columns: ParticleColumns, optics: dict[str, Array], rows: IntArray) -> None:
    """Values in other units (volts, per cent) give a plausible but wrong CTF, so they are refused."""
    for field, name, lowest, highest, unit in (
        ("rlnVoltage", "voltage_kv", 10.0, 3000.0, "kV"),
        ("rlnAmplitudeContrast", "amplitude_contrast", 0.0, 0.9999, "(a fraction)"),
        ("rlnSphericalAberration", "cs_mm", 0.0, 50.0, "mm"),
    ):
        values = optics[name][rows]
        outside = np.flatnonzero((values < lowest) | (values > highest))
        if outside.size:
            raise InputError(
                "particles.out-of-range",
                "this value cannot be right; is its unit another?",
                file=columns.path,
                field=field,
                row=int(rows[outside[0]]),
                expected=f"{lowest:g} to {highest:g} {unit}",
                found=f"{values[outside[0]]:g}",
            )
