"""cryoDRGN's poses and CTF parameters as the tables of a RELION file, and back.

Its rotations are RELION's matrices; its translations are RELION's origins as fractions of the box. Whether molecules
are black or white in its images the files do not say.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dynaflex.data.columns import ParticleColumns
from dynaflex.data.optics import check_ranges, ctf_fields, pixel_sizes, require_pixel_sizes, shifts
from dynaflex.errors import InputError, Words
from dynaflex.io.mrc import ImageStack
from dynaflex.io.star import StarFile
from dynaflex.rotations import euler_to_matrix, matrix_to_euler
from dynaflex.shapes import Array, FloatArray, IntArray

_CTF = ("box", "pixel size", "defocus U", "defocus V", "defocus angle", "kV", "Cs", "amplitude contrast", "phase shift")

_WORDS = Words(
    {
        "rlnImagePixelSize": "1 (pixel size)",
        "rlnVoltage": "5 (voltage)",
        "rlnSphericalAberration": "6 (Cs)",
        "rlnAmplitudeContrast": "7 (amplitude contrast)",
    },
    {
        name: "; write the file again with cryodrgn parse_ctf_star (--kv, --cs, -w, --Apix) or parse_ctf_csparc"
        for name in ("particles.out-of-range", "particles.pixel-size")
    },
)


def relion_tables(poses: list[Array], ctf: list[Array], files: tuple[Path, Path], images: Path, name: str) -> StarFile:
    """The optics and particle tables of RELION 3.1 for the images of one stack, in its order.

    ``poses`` are rotations ``(p 3 3)``, and translations ``(p 2)`` unless the particles are centred; ``ctf`` is one
    array ``(p 9)``. ``files`` are where both came from, for messages. ``name`` is what the table calls the stack. The
    images may have been downsampled since: their width in Å is the box times the pixel size of ``ctf``.

    Raises:
        InputError: the arrays do not fit each other or the stack, or the matrices are no rotations.
    """
    stack = ImageStack.open(images)
    _require_shapes(poses, files[0], ((stack.n_images, 3, 3), (stack.n_images, 2)), least=1)
    _require_shapes(ctf, files[1], ((stack.n_images, len(_CTF)),), least=1)
    rotation, parameters = poses[0].astype(np.float64), ctf[0].astype(np.float64)
    _require_rotations(rotation, files[0])
    width = parameters[:, 0] * parameters[:, 1]
    origin = np.zeros((stack.n_images, 2)) if len(poses) == 1 else poses[1].astype(np.float64) * width[:, None]
    angles = np.rad2deg(matrix_to_euler(torch.from_numpy(rotation)).numpy())
    unique, group = np.unique(np.column_stack([parameters[:, 5:8], width / stack.box]), axis=0, return_inverse=True)
    optics = {
        "rlnOpticsGroup": [str(i + 1) for i in range(len(unique))],
        "rlnOpticsGroupName": [f"opticsGroup{i + 1}" for i in range(len(unique))],
        "rlnVoltage": _decimals(unique[:, 0]),
        "rlnSphericalAberration": _decimals(unique[:, 1]),
        "rlnAmplitudeContrast": _decimals(unique[:, 2]),
        "rlnImagePixelSize": _decimals(unique[:, 3]),
        "rlnImageSize": [str(stack.box)] * len(unique),
        "rlnImageDimensionality": ["2"] * len(unique),
    }
    particles = {
        "rlnImageName": [f"{i + 1:06d}@{name}" for i in range(stack.n_images)],
        "rlnOpticsGroup": (group.reshape(-1) + 1).astype(str),
        **{f"rlnAngle{which}": _decimals(angles[:, i]) for i, which in enumerate(("Rot", "Tilt", "Psi"))},
        "rlnOriginXAngst": _decimals(origin[:, 0]),
        "rlnOriginYAngst": _decimals(origin[:, 1]),
        "rlnDefocusU": _decimals(parameters[:, 2]),
        "rlnDefocusV": _decimals(parameters[:, 3]),
        "rlnDefocusAngle": _decimals(parameters[:, 4]),
        "rlnPhaseShift": _decimals(parameters[:, 8]),
    }
    tables = {"optics": optics, "particles": particles}
    star = StarFile(files[1], {name: pd.DataFrame(table, dtype=object) for name, table in tables.items()}, words=_WORDS)
    _check(star)
    return star


def cryodrgn_arrays(star: StarFile, rows: IntArray, box: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rotations ``(p 3 3)``, translations ``(p 2)`` in fractions of the box, and CTF parameters ``(p 9)`` of the
    particles at ``rows`` ``(p)`` of a RELION table, whose images are ``box`` pixels wide where it does not say so.

    Raises:
        InputError: a column is missing.
    """
    columns, ignored = ParticleColumns.of(star), list[str]()
    angles = np.stack([columns.number(f"rlnAngle{which}") for which in ("Rot", "Tilt", "Psi")], axis=1)
    size, _ = pixel_sizes(columns, ignored)
    boxes = columns.number("rlnImageSize", float(box))
    fields = ctf_fields(columns)
    parameters = [
        boxes, size, fields["defocus_u"], fields["defocus_v"], np.rad2deg(fields["defocus_angle"]),
        fields["voltage_kv"], fields["cs_mm"], fields["amplitude_contrast"], np.rad2deg(fields["phase_shift"]),
    ]  # fmt: skip
    rotation = euler_to_matrix(torch.from_numpy(np.deg2rad(angles[rows]))).numpy()
    translation = -shifts(columns, size, ignored)[rows] / (boxes * size)[rows, None]
    return (
        rotation.astype(np.float32), translation.astype(np.float32),
        np.stack(parameters, axis=1)[rows].astype(np.float32),
    )  # fmt: skip


def _check(star: StarFile) -> None:
    """Refuse what would be refused when the table is read, while the file that it comes from is known."""
    with star.words.spoken():
        columns = ParticleColumns.of(star)
        rows = np.arange(len(columns))
        check_ranges(columns, ctf_fields(columns), rows, [])
        require_pixel_sizes(columns, columns.number("rlnImagePixelSize"), rows, "rlnImagePixelSize")


def _require_shapes(arrays: list[Array], file: Path, shapes: tuple[tuple[int, ...], ...], least: int) -> None:
    found = [array.shape for array in arrays]
    numbers = all(array.dtype.kind in "fiu" and np.isfinite(array).all() for array in arrays)
    if not least <= len(arrays) <= len(shapes) or found != list(shapes[: len(arrays)]) or not numbers:
        raise InputError(
            "convert.shape", "these arrays do not fit the images",
            file=file, expected=f"finite numbers of shape {' and '.join(map(str, shapes))}",
            found=" and ".join(f"{array.dtype} {array.shape}" for array in arrays),
            fix="give the poses.pkl and ctf.pkl of exactly the images in --images",
        )  # fmt: skip


def _require_rotations(rotation: Array, file: Path) -> None:
    identity = rotation @ rotation.transpose(0, 2, 1)
    off = np.abs(identity - np.eye(3)).max(axis=(1, 2)) > 1e-3
    bad = np.flatnonzero(off | (np.linalg.det(rotation) < 0))
    if bad.size:
        raise InputError(
            "convert.rotation", "this matrix is no rotation",
            file=file, row=int(bad[0]), expected="orthonormal rows and determinant 1",
            found=f"determinant {np.linalg.det(rotation[bad[0]]):.3g} ({bad.size} such rows)",
            fix="write the poses again with cryodrgn parse_pose_star or parse_pose_csparc",
        )  # fmt: skip


def _decimals(values: Array) -> list[str]:
    return [f"{value:.9g}" for value in values]
