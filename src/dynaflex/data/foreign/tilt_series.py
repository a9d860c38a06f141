"""How RELION 5 took its tilt series: for each tilt, how the tomogram was turned, its defocus, and its dose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dynaflex.data.image_paths import find_file
from dynaflex.data.optics import DOSE
from dynaflex.errors import InputError
from dynaflex.io.star import StarFile, read_star
from dynaflex.rotations import axis_angle_to_matrix
from dynaflex.shapes import Array

_NAME, _FILE, _HAND = "rlnTomoName", "rlnTomoTiltSeriesStarFile", "rlnTomoHand"
_TURNS = ("rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot")
_MATRIX = ("rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ")
_DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
_SLOPE, _PER_ELECTRON = "rlnTomoDefocusSlope", "rlnCtfBfactorPerElectronDose"
OPTICS = {"rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0, "rlnPhaseShift": 0.0}
"""What a tilt series may say of the optics beside the defocus, and what it is where it does not."""


@dataclass(frozen=True)
class TiltSeries:
    """f tilts of a tomogram, in the order of its table.

    ``rotation`` ``(f 3 3)`` turns the tomogram into the frame of each image. ``defocus`` ``(f 3)`` is U, V (Å) and the
    angle (degrees) at the centre of the tomogram; ``slope`` Å of defocus are added for each Å that a particle lies
    further along the beam. ``optics`` ``(f)`` are by the names of RELION, ``dose`` (electrons per Å²) among them.
    """

    rotation: Array
    defocus: Array
    slope: float
    optics: dict[str, Array]

    def __len__(self) -> int:
        return len(self.rotation)


def read_tilt_series(path: Path, datadir: Path | None, needed: set[str]) -> dict[str, TiltSeries]:
    """The tilt series by the names of their tomograms, those that are ``needed``, which ``tomograms.star`` lists.

    Raises:
        InputError: one is not listed, its file is not there, or it does not say what is needed.
    """
    star = read_star(path)
    table = star.blocks.get("global", next(iter(star.blocks.values())))
    for name in (_NAME, _HAND):
        _require(table, (name,), path)
    found = {}
    for row, name in enumerate(table[_NAME]):
        if name in needed:
            tilts, where = _table_of(star, table, row, name, datadir)
            found[name] = _series(_told(table, row, path), tilts, where)
    lost = sorted(needed - found.keys())
    if lost:
        raise InputError(
            "tomography.no-tomogram", "particles lie in tomograms that are not listed here",
            file=path, field=_NAME, expected=lost[0], found=f"{len(table)} other tomograms",
            fix="give the optimisation set of the job that the particles come from",
        )  # fmt: skip
    return found


def _table_of(
    star: StarFile, table: pd.DataFrame, row: int, name: str, datadir: Path | None
) -> tuple[pd.DataFrame, Path]:
    """The tilts of a tomogram, and the file that lists them: its own, or in RELION 4 a block of the same file."""
    if _FILE not in table:
        if name not in star.blocks:
            _require(table, (_FILE,), star.path)
        return star.blocks[name], star.path
    where = find_file(star.path, table[_FILE].iloc[row], datadir)
    if where is None:
        raise InputError(
            "tomography.no-tilt-series", "this tilt series is not there",
            file=star.path, field=_FILE, row=row, found=table[_FILE].iloc[row],
            fix="run from the project folder, or give it as --datadir",
        )  # fmt: skip
    return next(iter(read_star(where).blocks.values())), where


def _told(table: pd.DataFrame, row: int, path: Path) -> tuple[float, float]:
    """The sign and the slope of the defocus along the beam of a tomogram, and what of a B factor an electron adds."""
    known = {name: _numbers(table, name, path)[row] for name in (_HAND, _SLOPE, _PER_ELECTRON) if name in table}
    return known[_HAND] * known.get(_SLOPE, 1.0), known.get(_PER_ELECTRON, 0.0)


def _series(told: tuple[float, float], tilts: pd.DataFrame, path: Path) -> TiltSeries:
    """Those of one tomogram, of which this is ``told``, from its ``tilts``."""
    _require(tilts, (*_DEFOCUS, DOSE), path)
    slope, per_electron = told
    optics = {name: _numbers(tilts, name, path) if name in tilts else np.full(len(tilts), default)
              for name, default in OPTICS.items()}  # fmt: skip
    dose = _numbers(tilts, DOSE, path)
    if per_electron > 0.0:
        # Damage is then a B factor that grows with the dose, and nothing else.
        optics["rlnCtfBfactor"] = optics["rlnCtfBfactor"] + per_electron * dose
        dose = np.zeros_like(dose)
    defocus = np.stack([_numbers(tilts, name, path) for name in _DEFOCUS], axis=1)
    return TiltSeries(_rotation(tilts, path), defocus, slope, {**optics, DOSE: dose})


def _rotation(tilts: pd.DataFrame, path: Path) -> Array:
    """``Rz(zrot) Ry(ytilt) Rx(xtilt)``, or the turns that matrices of RELION 4 hold."""
    if all(name in tilts for name in _MATRIX):
        try:
            rows = [[[float(part) for part in text.strip("[]").split(",")] for text in tilts[name]] for name in _MATRIX]
            matrix: Array = np.array(rows)[..., :3].transpose(1, 0, 2)
            turned: Array = matrix / np.cbrt(np.linalg.det(matrix))[:, None, None]
        except (ValueError, IndexError, np.linalg.LinAlgError) as error:
            raise InputError(
                "star.not-a-list", "these are not the rows of a projection matrix",
                file=path, field=_MATRIX[0], expected="[a,b,c,d]", fix="correct these columns",
            ) from error  # fmt: skip
        return turned
    _require(tilts, _TURNS[1:], path)
    total = torch.eye(3, dtype=torch.float64)
    for name, axis in zip(_TURNS, torch.eye(3, dtype=torch.float64), strict=True):
        degrees = _numbers(tilts, name, path) if name in tilts else np.zeros(len(tilts))
        turns = torch.from_numpy(np.deg2rad(degrees))
        total = axis_angle_to_matrix(axis.expand(len(turns), 3), turns) @ total
    return np.asarray(total.numpy())


def _numbers(table: pd.DataFrame, name: str, path: Path) -> Array:
    values: Array = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            "star.not-a-number", "this value is not a number",
            file=path, field=name, row=row, expected="a number", found=repr(table[name].iloc[row]),
            fix="correct this value",
        )  # fmt: skip
    return values


def _require(table: pd.DataFrame, names: tuple[str, ...], path: Path) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(
            "star.missing-column", "tilt series need this column",
            file=path, field=missing[0], expected=" ".join(names), found=f"no {' '.join(missing)}",
            fix="give the optimisation set of a RELION 5 job after the alignment of tilt series",
        )  # fmt: skip
