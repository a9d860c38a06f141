"""cryoSPARC's particles as the tables of a RELION file, so that all that follows is one path.

cryoSPARC keeps a particle in several files that share a ``uid``: the output of a job, and beside it the columns that
the job only passed through. Poses are rotation vectors of the inverse of RELION's matrix; shifts are in pixels of
``alignments3D/psize_A``, which after downsampling is not the pixel size of the images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dynaflex.data.foreign.cs_table import UID, CsTable, read_joined
from dynaflex.data.foreign.cs_words import words
from dynaflex.errors import InputError
from dynaflex.io.star import StarFile
from dynaflex.rotations import axis_angle_to_matrix, matrix_to_euler
from dynaflex.shapes import Array, IntArray

SIGN = "cryosparcSign"

# An aberration that is not modelled may shift the phase of a wave by so much, in radians, before it matters.
_LARGEST_PHASE = 0.1


# What cannot be computed from damaged values is no number, and its particle is excluded or refused by name.
@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def read_cryosparc(path: Path | str, class_number: int | None = None) -> StarFile:
    """The particles of a ``.cs`` file as the optics and particle tables of RELION 3.1.

    ``alignments3D/split`` 0 and 1 become half-sets 1 and 2. ``alignments3D/alpha``, the factor that fits the reference
    to the image, multiplies ``rlnCtfScalefactor``. ``blob/sign`` is kept as ``cryosparcSign``, which the images are
    multiplied by, and ``uid`` as ``cryosparcUid``. Where a job aligned to several classes, ``class_number`` (from 0)
    chooses whose poses to take; ``rlnClassNumber`` is then the likeliest class of each particle, counted from 1.

    Raises:
        InputError: the file or one it needs is missing or damaged, there are classes and none is chosen, or an
            aberration that is not modelled is too large to leave out.
    """
    table = read_joined(Path(path))
    alignments, likeliest = alignments_of(table, class_number)
    _refuse_aberrations(table)
    group, optics = _optics_table(table)
    pose = table.numbers(f"{alignments}/pose", class_number, width=3)
    angles = _euler_angles(table, pose)
    pixel = f"{alignments}/psize_A"
    pixel_size = table.numbers(pixel if pixel in table else "blob/psize_A", class_number)
    origin = table.numbers(f"{alignments}/shift", class_number, width=2) * pixel_size[:, None]
    alpha = f"{alignments}/alpha"
    scale = table.numbers(alpha, class_number) if alpha in table else np.ones(len(table))
    particles: dict[str, object] = {
        "rlnImageName": _image_names(table),
        "rlnMicrographName": table.text("location/micrograph_path" if "location/micrograph_path" in table
                                        else "blob/path"),
        **_coordinates(table),
        "rlnOpticsGroup": (group + 1).astype(str),
        **{f"rlnAngle{name}": _decimals(angles[:, i]) for i, name in enumerate(("Rot", "Tilt", "Psi"))},
        "rlnOriginXAngst": _decimals(origin[:, 0]),
        "rlnOriginYAngst": _decimals(origin[:, 1]),
        "rlnDefocusU": _decimals(table.numbers("ctf/df1_A")),
        "rlnDefocusV": _decimals(table.numbers("ctf/df2_A")),
        "rlnDefocusAngle": _decimals(np.rad2deg(table.numbers("ctf/df_angle_rad"))),
        "rlnPhaseShift": _decimals(np.rad2deg(table.numbers("ctf/phase_shift_rad", default=0.0))),
        "rlnCtfBfactor": _decimals(table.numbers("ctf/bfactor", default=0.0)),
        "rlnCtfScalefactor": _decimals(table.numbers("ctf/scale", default=1.0) * scale),
        UID: table.rows["uid"].astype(str),
    }  # fmt: skip
    if f"{alignments}/split" in table:
        particles["rlnRandomSubset"] = _halves(table, f"{alignments}/split", class_number)
    if likeliest is not None:
        particles["rlnClassNumber"] = (likeliest + 1).astype(str)
    if "blob/sign" in table:
        particles[SIGN] = _signs(table)
    blocks = {"optics": optics, "particles": pd.DataFrame(particles, dtype=object)}
    return StarFile(Path(path), blocks, notices=_stretched(table), words=words(alignments))


def _stretched(table: CsTable) -> tuple[str, ...]:
    """That images are magnified more in one direction, and nothing is made of it: nobody has written down whether these
    numbers stretch images or frequencies, and the wrong sense would double what is wrong."""
    stretch = np.abs(table.numbers("ctf/anisomag", default=0.0, width=4)).max()
    found = f"anisotropic magnification (ctf/anisomag) of up to {100 * stretch:.2g} % is not taken out of the images"
    return (found,) if stretch > 0.0 else ()


def alignments_of(table: CsTable, class_number: int | None) -> tuple[str, IntArray | None]:
    """The name before the slash of the poses to take, and the likeliest class of every particle (from 0) if it counts.

    A single alignment wins: jobs that refine one class of several keep the poses of all of them beside it.

    Raises:
        InputError: there are no poses, or those of several classes and none is chosen.
    """
    if "alignments3D/pose" in table:
        return "alignments3D", None
    posterior = table.class_posteriors()
    if posterior is None:
        raise InputError(
            "cs.no-poses", "these particles have no poses in three dimensions",
            file=table.path, field="alignments3D/pose", found=", ".join(table.groups()),
            fix="give the particles of a 3D refinement; its passthrough file must lie beside it",
        )  # fmt: skip
    likeliest: IntArray = posterior.argmax(axis=1)
    n_classes = posterior.shape[1]
    if class_number is None or not 0 <= class_number < n_classes:
        counts = ", ".join(f"class {k}: {int((likeliest == k).sum())}" for k in range(n_classes))
        raise InputError(
            "cs.classes", f"these particles were aligned to {n_classes} classes; one must be chosen",
            file=table.path, field="alignments_class_*", expected=f"a class from 0 to {n_classes - 1}",
            found=f"{counts} particles", fix="--class K, or refine one class and give its particles",
        )  # fmt: skip
    single = f"alignments_class_{class_number}"
    return single if f"{single}/pose" in table else "alignments3D_multi", likeliest


def _euler_angles(table: CsTable, pose: Array) -> Array:
    """RELION's angles in degrees, ``(p 3)``; NaN where the rotation vector is not a number."""
    turn = np.linalg.norm(pose, axis=1)
    # cryoSPARC keeps vectors of up to π; twice that leaves room for its steps, and none for angles in degrees.
    wild = np.flatnonzero(turn > 4.0 * np.pi)
    if wild.size:
        raise InputError(
            "cs.pose", "this is no rotation vector",
            file=table.path, field="alignments3D/pose", row=int(wild[0]),
            expected="a length in radians, up to π", found=f"{turn[wild[0]]:.4g}",
            fix="give the .cs file as cryoSPARC wrote it",
        )  # fmt: skip
    finite = np.isfinite(turn)
    turns = torch.from_numpy(turn[finite])
    axes = torch.from_numpy(pose[finite]) / turns.clamp(min=1e-300)[:, None]
    angles = np.full((len(pose), 3), np.nan)
    angles[finite] = np.rad2deg(matrix_to_euler(axis_angle_to_matrix(axes, turns).transpose(-1, -2)).numpy())
    return angles


def _image_names(table: CsTable) -> list[str]:
    index = table.numbers("blob/idx").astype(np.int64)
    return [f"{i + 1:06d}@{path}" for i, path in zip(index, table.text("blob/path"), strict=True)]


def _coordinates(table: CsTable) -> dict[str, object]:
    """Where the particles lie on their micrographs, in its pixels, if the file knows."""
    needed = ("location/center_x_frac", "location/center_y_frac", "location/micrograph_shape")
    if any(name not in table for name in needed):
        return {}
    shape = table.numbers("location/micrograph_shape", width=2)
    coordinates: dict[str, object] = {
        "rlnCoordinateX": _decimals(table.numbers("location/center_x_frac") * shape[:, 1]),
        "rlnCoordinateY": _decimals(table.numbers("location/center_y_frac") * shape[:, 0]),
    }
    if "location/micrograph_psize_A" in table:
        coordinates["rlnMicrographPixelSize"] = _decimals(table.numbers("location/micrograph_psize_A"))
    return coordinates


def _halves(table: CsTable, name: str, class_number: int | None) -> list[str]:
    """The half-sets 1 and 2 of the splits 0 and 1."""
    split = table.numbers(name, class_number)
    bad = np.flatnonzero(~np.isin(split, (0.0, 1.0)))
    if bad.size:
        raise InputError(
            "cs.split", "a split is 0 or 1",
            file=table.path, field=name, row=int(bad[0]), expected="0 or 1",
            found=f"{split[bad[0]]:g} ({bad.size} such rows)",
            fix="give the particles of a homogeneous or non-uniform refinement, which splits them",
        )  # fmt: skip
    return [f"{half:.0f}" for half in split + 1.0]


def _signs(table: CsTable) -> list[str]:
    sign = table.numbers("blob/sign")
    bad = np.flatnonzero(np.abs(sign) != 1.0)
    if bad.size:
        raise InputError(
            "cs.sign", "the sign of an image is 1 or -1",
            file=table.path, field="blob/sign", row=int(bad[0]), expected="1 or -1", found=f"{sign[bad[0]]:g}",
            fix="give the .cs file as cryoSPARC wrote it",
        )  # fmt: skip
    return [f"{value:.0f}" for value in sign]


def _optics_table(table: CsTable) -> tuple[IntArray, pd.DataFrame]:
    """The optics group of every particle (from 0), and RELION's optics table: one group for each set of values."""
    cs, tilt = table.numbers("ctf/cs_mm"), table.numbers("ctf/tilt_A", default=0.0, width=2)
    # The tilt that makes the same aberration; without any spherical aberration none does.
    mrad = np.divide(1e-4 * tilt, cs[:, None], out=np.zeros_like(tilt), where=cs[:, None] != 0.0)
    columns = {
        "rlnVoltage": table.numbers("ctf/accel_kv"),
        "rlnSphericalAberration": cs,
        "rlnAmplitudeContrast": table.numbers("ctf/amp_contrast"),
        "rlnImagePixelSize": table.numbers("blob/psize_A"),
        "rlnImageSize": table.numbers("blob/shape", width=2)[:, 1],
        "rlnBeamTiltX": mrad[:, 0],
        "rlnBeamTiltY": mrad[:, 1],
    }
    exposure = table.numbers("ctf/exp_group_id", default=0.0)
    unique, group = np.unique(np.stack([exposure, *columns.values()], axis=1), axis=0, return_inverse=True)
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [str(i + 1) for i in range(len(unique))],
            "rlnOpticsGroupName": [f"exposureGroup{int(value)}" for value in unique[:, 0]],
            "rlnImageDimensionality": ["2"] * len(unique),
            **{name: [str(np.float32(v)) for v in unique[:, i + 1]] for i, name in enumerate(columns)},
        },
        dtype=object,
    )
    return group.reshape(-1).astype(np.int64), optics


def _refuse_aberrations(table: CsTable) -> None:
    """Trefoil, tetrafoil and the like have no counterpart here, so they may only be there where they do not matter; the
    same goes for a beam tilt at a Cs of 0, as corrected microscopes have.

    The phase that one can add at Nyquist is bounded by that of a wave aberration of its size and order.
    """
    volts = table.numbers("ctf/accel_kv") * 1e3
    wavelength = 12.2643247 / np.sqrt(volts * (1.0 + volts * 0.978466e-6))
    nyquist = 0.5 / table.numbers("blob/psize_A")
    tilt = ("ctf/tilt_A", 3, 2)
    for name, order, width in (("ctf/shift_A", 1, 2), ("ctf/trefoil_A", 3, 2), ("ctf/tetra_A", 4, 4), tilt):
        size = np.linalg.norm(table.numbers(name, default=0.0, width=width), axis=1)
        if name == tilt[0]:
            size = np.where(table.numbers("ctf/cs_mm") == 0.0, size, 0.0)
        phase = 2.0 * np.pi * size * wavelength ** (order - 1) * nyquist**order
        worst = np.flatnonzero(phase > _LARGEST_PHASE)
        if worst.size:
            raise InputError(
                "cs.aberration", "this aberration is not modelled, and too large here to be left out",
                file=table.path, field=name, row=int(worst[0]),
                expected=f"at most {_LARGEST_PHASE} rad at Nyquist",
                found=f"{size[worst[0]]:.4g} Å, up to {phase[worst[0]]:.2g} rad ({worst.size} such rows)",
                fix="downsample the particles in cryoSPARC, or give the particles of a refinement without it",
            )  # fmt: skip


def _decimals(values: Array) -> list[str]:
    """Numbers as text to nine digits: two more than cryoSPARC's single precision has."""
    return [f"{value:.9g}" for value in values]
