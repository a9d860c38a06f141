"""What cryoSPARC would write of a RELION table: by its conventions, and with nothing of the reader under test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import starfile
from numpy.lib import recfunctions
from scipy.spatial.transform import Rotation

PASSED_THROUGH = ("blob", "location")


def records(star: Path, align_pixel: float) -> np.ndarray:
    """One record per particle of ``star``; shifts are in pixels of ``align_pixel`` Å."""
    blocks = starfile.read(star, always_dict=True)
    table = blocks["particles"].merge(blocks["optics"], how="left", on="rlnOpticsGroup", suffixes=("", "_o"))
    n = len(table)
    number, path = zip(*(name.split("@") for name in table["rlnImageName"]), strict=True)
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(dtype=float)
    origin = table[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(dtype=float)
    columns = {
        "uid": np.random.default_rng(3).permutation(n).astype("<u8") + np.uint64(2**63 + 10**18),
        "blob/path": np.array([f">{name}".encode() for name in path], dtype="S80"),
        "blob/idx": np.array([int(i) - 1 for i in number], dtype="<u4"),
        "blob/shape": np.tile(table[["rlnImageSize"]].to_numpy(dtype="<u4"), (1, 2)),
        "blob/psize_A": table["rlnImagePixelSize"].to_numpy(dtype="<f4"),
        "blob/sign": np.ones(n, dtype="<f4"),
        "ctf/type": np.full(n, b"imported"),
        "ctf/exp_group_id": table["rlnOpticsGroup"].to_numpy(dtype="<u4"),
        "ctf/accel_kv": table["rlnVoltage"].to_numpy(dtype="<f4"),
        "ctf/cs_mm": table["rlnSphericalAberration"].to_numpy(dtype="<f4"),
        "ctf/amp_contrast": table["rlnAmplitudeContrast"].to_numpy(dtype="<f4"),
        "ctf/df1_A": table["rlnDefocusU"].to_numpy(dtype="<f4"),
        "ctf/df2_A": table["rlnDefocusV"].to_numpy(dtype="<f4"),
        "ctf/df_angle_rad": np.deg2rad(table["rlnDefocusAngle"].to_numpy(dtype=float)).astype("<f4"),
        "ctf/phase_shift_rad": np.zeros(n, dtype="<f4"),
        "ctf/scale": np.ones(n, dtype="<f4"),
        "ctf/bfactor": np.zeros(n, dtype="<f4"),
        "ctf/tilt_A": np.zeros((n, 2), dtype="<f4"),
        "ctf/trefoil_A": np.zeros((n, 2), dtype="<f4"),
        "ctf/anisomag": np.zeros((n, 4), dtype="<f4"),
        "alignments3D/split": table["rlnRandomSubset"].to_numpy(dtype="<u4") - 1,
        "alignments3D/shift": (origin / align_pixel).astype("<f4"),
        "alignments3D/pose": Rotation.from_euler("ZYZ", angles, degrees=True).as_rotvec().astype("<f4"),
        "alignments3D/psize_A": np.full(n, align_pixel, dtype="<f4"),
        "alignments3D/alpha": np.ones(n, dtype="<f4"),
        "location/micrograph_path": table["rlnMicrographName"].to_numpy(dtype="S80"),
        "location/center_x_frac": np.linspace(0.1, 0.9, n).astype("<f4"),
        "location/center_y_frac": np.linspace(0.9, 0.1, n).astype("<f4"),
        "location/micrograph_shape": np.tile(np.array([[2000, 4000]], dtype="<u4"), (n, 1)),
    }
    dtype = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    rows = np.zeros(n, dtype=dtype)
    for name, values in columns.items():
        rows[name] = values
    return rows


def write_cs(path: Path, rows: np.ndarray) -> Path:
    """Write records as cryoSPARC does: an array under another ending."""
    with path.open("wb") as stream:
        np.save(stream, rows, allow_pickle=False)
    return path


def only(rows: np.ndarray, *groups: str) -> np.ndarray:
    """The uid and the columns of some groups."""
    names = [name for name in rows.dtype.names if name == "uid" or name.partition("/")[0] in groups]
    return recfunctions.repack_fields(rows[names])


def without(rows: np.ndarray, *names: str) -> np.ndarray:
    """The records without some columns."""
    return recfunctions.repack_fields(rows[[name for name in rows.dtype.names if name not in names]])


def with_column(rows: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
    """The records with one more column, or another in its place."""
    rows = without(rows, name)
    wider = np.zeros(len(rows), dtype=[*rows.dtype.descr, (name, values.dtype, values.shape[1:])])
    for old in rows.dtype.names:
        wider[old] = rows[old]
    wider[name] = values
    return wider


def in_classes(rows: np.ndarray, likeliest: np.ndarray, n_classes: int) -> np.ndarray:
    """The records as heterogeneous refinement writes them: poses for every class, and how likely each class is.

    The poses of ``rows`` are those of the likeliest class; those of the others are turned upside down.
    """
    flat = without(rows, *(name for name in rows.dtype.names if name.startswith("alignments3D/")))
    for k in range(n_classes):
        mine = likeliest == k
        pose = np.where(mine[:, None], rows["alignments3D/pose"], -rows["alignments3D/pose"])
        flat = with_column(flat, f"alignments_class_{k}/pose", pose.astype("<f4"))
        flat = with_column(flat, f"alignments_class_{k}/class_posterior", np.where(mine, 0.9, 0.05).astype("<f4"))
        for name in ("split", "shift", "psize_A"):
            flat = with_column(flat, f"alignments_class_{k}/{name}", rows[f"alignments3D/{name}"])
    return flat
