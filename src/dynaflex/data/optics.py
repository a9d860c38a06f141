"""The optics of particles as numbers: pixel sizes, shifts and the CTF, in one unit each whatever the file's dialect."""

from __future__ import annotations

import numpy as np

from dynaflex.data.columns import PARTICLE, ParticleColumns
from dynaflex.data.treatment import Treatment
from dynaflex.errors import InputError
from dynaflex.shapes import Array, IntArray

REFINED = "use the particle table of a 3D refinement (run_data.star)"

DOSE = "rlnMicrographPreExposure"
"""The dose before an image, in electrons per Å²."""
_CTF = ("rlnDefocusU", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_PIXEL_SIZES = ("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize")
# What a pixel of a microscope can be, in Å; others are in another unit.
_PIXEL_SIZE = (0.01, 1000.0)
_MAGNIFICATION = {"rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0, "rlnMagMat11": 1.0}
# Lenses stretch images by some per cent; a matrix that does more is of something else.
_LARGEST_STRETCH = 0.2
_MULTIPLIED, _FLIPPED = "rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"
_ANGSTROMS, _PIXELS = ("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY")


def treatment(columns: ParticleColumns, warnings: list[str]) -> Treatment:
    """What the images have gone through, all of it to be undone where they are read.

    Raises:
        InputError: a matrix that magnifies nothing like a microscope, or images that were both flipped and multiplied.
    """
    entries = [columns.number(name, one) for name, one in _MAGNIFICATION.items()]
    matrix = np.stack(entries, axis=1).reshape(-1, 2, 2)
    off = np.abs(matrix - np.eye(2)).max(axis=(1, 2))
    wrong = np.flatnonzero(off > _LARGEST_STRETCH)
    if wrong.size:
        raise InputError(
            "particles.magnification",
            "this is no magnification of a microscope",
            file=columns.path,
            field="rlnMagMat00",
            row=int(wrong[0]),
            expected=f"a matrix within {_LARGEST_STRETCH:g} of the identity",
            found=" ".join(f"{value:g}" for value in matrix[wrong[0]].flat),
            fix="correct rlnMagMat00, rlnMagMat01, rlnMagMat10 and rlnMagMat11, or remove these columns",
        )
    multiplied, flipped = (np.nan_to_num(columns.number(name, 0.0)) != 0.0 for name in (_MULTIPLIED, _FLIPPED))
    both = np.flatnonzero(multiplied & flipped)
    if both.size:
        raise InputError(
            "particles.corrected",
            "these images cannot have been phase-flipped and multiplied by their CTF",
            file=columns.path,
            field=_MULTIPLIED,
            row=int(both[0]),
            expected=f"{_MULTIPLIED} or {_FLIPPED} to be 0",
            found=f"{both.size} of {len(columns)} rows with 1 in both",
            fix="correct the column that is wrong",
        )
    made = Treatment(matrix, flipped, multiplied)
    if made.stretched.any():
        stretch = f"anisotropic magnification (rlnMagMat) of up to {100 * np.nanmax(off):.2g} %"
        warnings.append(f"{stretch} is taken out of the images as they are read")
    for which, name, what in (
        (multiplied, _MULTIPLIED, "multiplied by their CTF"),
        (flipped, _FLIPPED, "phase-flipped"),
    ):
        if which.any():
            warnings.append(f"{which.sum()} images are {what} ({name}), which is undone as they are read")
    return made


def pixel_sizes(columns: ParticleColumns, warnings: list[str]) -> tuple[Array, str]:
    """Every particle's pixel size in Å ``(p)``, and the column it comes from.

    Raises:
        InputError: no column gives it.
    """
    for name in _PIXEL_SIZES:
        if name in columns:
            if name != "rlnImagePixelSize":
                whose = "micrographs" if name == "rlnMicrographPixelSize" else "movies"
                warnings.append(
                    f"the pixel size comes from {name}, that of the {whose}: it is wrong if they were downscaled since"
                )
            return columns.number(name), name
    columns.require(
        ("rlnDetectorPixelSize", "rlnMagnification"),
        "the pixel size (there is no rlnImagePixelSize)",
        "add rlnImagePixelSize (Å) to the table",
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        size = columns.number("rlnDetectorPixelSize") * 1e4 / columns.number("rlnMagnification")
    return size, "rlnDetectorPixelSize"


def require_pixel_sizes(columns: ParticleColumns, sizes: Array, rows: IntArray, source: str) -> None:
    """Refuse a pixel size in ``sizes`` ``(p)``, those of the particles at ``rows`` from the column ``source``.

    Raises:
        InputError: one is no length.
    """
    low, high = _PIXEL_SIZE
    wrong = np.flatnonzero(~((sizes >= low) & (sizes <= high)))
    if wrong.size:
        raise InputError(
            "particles.pixel-size",
            "this is no pixel size in Å",
            file=columns.path,
            field=source,
            row=int(rows[wrong[0]]),
            expected=f"{low:g} to {high:g} Å",
            found=f"{sizes[wrong[0]]:g}",
            fix="correct the column",
        )


def shifts(columns: ParticleColumns, pixel_size: Array, warnings: list[str]) -> Array:
    """The particle's centre in its image, Å, ``(p 2)``: minus RELION's origin.

    Raises:
        InputError: the table has no origins, or has them in pixels and in Å and they disagree.
    """
    in_angstroms = np.stack([columns.number(name) for name in _ANGSTROMS], axis=1)
    pixels = np.stack([columns.number(name) for name in _PIXELS], axis=1)
    if all(name in columns for name in _ANGSTROMS):
        if all(name in columns for name in _PIXELS):
            _compare_origins(columns, in_angstroms, pixels, pixel_size)
        return -in_angstroms
    if all(name in columns for name in _PIXELS):
        size = float(np.nanmedian(pixel_size))
        warnings.append(f"rlnOriginX and rlnOriginY are in pixels: they were multiplied by {size:g} Å")
        return -pixels * pixel_size[:, None]
    columns.require(
        _ANGSTROMS,
        "the position of the particle",
        f"{REFINED}; if the particles are centred, add both columns with 0",
    )
    raise AssertionError("one of the columns is missing")


def _compare_origins(columns: ParticleColumns, in_angstroms: Array, pixels: Array, pixel_size: Array) -> None:
    with np.errstate(invalid="ignore"):
        apart = np.abs(in_angstroms - pixels * pixel_size[:, None]).max(axis=1)
        rows = np.flatnonzero(apart > 0.02 * pixel_size)
    if rows.size:
        used = np.abs(pixels[rows]) > 0.0
        implied = float(np.median(np.abs(in_angstroms[rows][used] / pixels[rows][used]))) if used.any() else np.nan
        raise InputError(
            "particles.origins",
            "rlnOriginX/Y (pixels) and rlnOriginX/YAngst contradict each other",
            file=columns.path,
            field="rlnOriginXAngst",
            row=int(rows[0]),
            expected=f"a pixel size of {pixel_size[rows[0]]:.5g} Å between them",
            found=f"{apart[rows].max():.3g} Å apart in {rows.size} of {len(columns)} rows; {implied:.5g} Å would fit",
            fix="remove the two columns that are wrong",
        )


def ctf_fields(columns: ParticleColumns) -> dict[str, Array]:
    """The fields of CtfParams, with RELION's defaults where a column is missing.

    Raises:
        InputError: a column that has no default is missing.
    """
    columns.require(_CTF, "the CTF", f"{REFINED}, or add the column")
    u = columns.number("rlnDefocusU")
    v = columns.number("rlnDefocusV") if "rlnDefocusV" in columns else u
    if "rlnDefocusAngle" not in columns and not np.array_equal(u, v, equal_nan=True):
        columns.require(("rlnDefocusAngle",), "astigmatism", f"{REFINED}, or add the column")
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
        # Of single particles a weight for what came before is in the micrograph, or in nothing that RELION models.
        "dose": columns.number(DOSE, 0.0) if PARTICLE in columns else np.zeros(len(columns)),
        "beam_tilt": np.stack([columns.number("rlnBeamTiltX", 0.0), columns.number("rlnBeamTiltY", 0.0)], axis=1),
        "odd_zernike": columns.vector("rlnOddZernike"),
        "even_zernike": columns.vector("rlnEvenZernike"),
    }


def check_ranges(columns: ParticleColumns, ctf: dict[str, Array], rows: IntArray, warnings: list[str]) -> None:
    """Values in other units (volts, per cent) give a plausible but wrong CTF, so they are refused.

    A microscope that corrects spherical aberration has next to none, of either sign.

    Raises:
        InputError: a value of the particles at ``rows`` that cannot be right.
    """
    for field, name, lowest, highest, unit, factor in (
        ("rlnVoltage", "voltage_kv", 10.0, 3000.0, "kV", 1000.0),
        ("rlnAmplitudeContrast", "amplitude_contrast", 0.0, 0.9999, "parts of 1", 100.0),
        ("rlnSphericalAberration", "cs_mm", -1.0, 50.0, "mm", 1000.0),
    ):
        values = ctf[name][rows]
        outside = np.flatnonzero((values < lowest) | (values > highest))
        if outside.size:
            wrong = float(values[outside[0]])
            unlike = f"divide it by {factor:g}" if lowest <= wrong / factor <= highest else "correct it"
            raise InputError(
                "particles.out-of-range",
                "this value cannot be right; is its unit another?",
                file=columns.path,
                field=field,
                row=int(rows[outside[0]]),
                expected=f"{lowest:g} to {highest:g} {unit}",
                found=f"{wrong:g} ({outside.size} such rows)",
                fix=f"{unlike}: {field} is in {unit}",
            )
    if (ctf["amplitude_contrast"][rows] == 0.0).any():
        warnings.append("rlnAmplitudeContrast is 0: usual for images of a vitreous specimen is 0.07 to 0.1")
