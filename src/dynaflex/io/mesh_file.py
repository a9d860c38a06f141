"""Meshes of tetrahedra on disk: a NumPy archive of plain arrays, read without trust."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynaflex.errors import InputError
from dynaflex.io.arrays import UNREADABLE
from dynaflex.io.durable import write_npz
from dynaflex.io.magic import describe_file
from dynaflex.shapes import BoolArray, FloatArray, IntArray

VERSION = 1
_REQUIRED = ("version", "vertices", "cells", "weights", "segment", "fixed")
_OPTIONAL = ("labels", "pixel_size")


@dataclass(frozen=True)
class MeshArrays:
    """A mesh as it is stored, in the frame of the consensus map: (x, y, z) in Å, origin at the box centre.

    ``vertices`` ``(v 3)``; ``cells`` ``(t 4)``, the vertices of each tetrahedron; ``weights`` ``(t)`` of its rigidity;
    ``segment`` ``(t)``, the part of the molecule it belongs to; ``fixed`` ``(v)``, the vertices that never move. Where
    the mesh has several segments, ``labels`` ``(d d d)`` ``[z, y, x]`` is the segment of every voxel, or -1, on a grid
    of ``pixel_size`` Å: cells may lie over each other, and only the label tells which of them carries a voxel.
    """

    vertices: FloatArray
    cells: IntArray
    weights: FloatArray
    segment: IntArray
    fixed: BoolArray
    labels: IntArray | None = None
    pixel_size: float | None = None


def write_mesh(path: Path | str, mesh: MeshArrays) -> None:
    """Write a mesh as ``.npz``. Equal meshes give equal bytes.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    arrays: dict[str, NDArray[np.generic]] = {
        "version": np.array(VERSION),
        "vertices": mesh.vertices.astype("<f4"),
        "cells": mesh.cells.astype("<i8"),
        "weights": mesh.weights.astype("<f4"),
        "segment": mesh.segment.astype("<i8"),
        "fixed": mesh.fixed.astype(bool),
    }
    if mesh.labels is not None and mesh.pixel_size is not None:
        arrays["labels"] = mesh.labels.astype("<i4")
        arrays["pixel_size"] = np.array(mesh.pixel_size)
    write_npz(path, **arrays)


def read_mesh(path: Path | str) -> MeshArrays:
    """Read a mesh written by :func:`write_mesh`, or by a user with the same arrays. Nothing in the file is executed.

    Raises:
        InputError: missing, not an archive of arrays, an array missing, of the wrong kind or shape, a value that is
            not finite, or a cell with a vertex that does not exist.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    version = _array(path, arrays, "version", (), "iu")
    if int(version) != VERSION:
        raise InputError(
            "mesh-file.version",
            "this version of the mesh file is not known here",
            file=path,
            field="version",
            expected=VERSION,
            found=int(version),
            fix="read it with the program that wrote it, or with a newer dynaflex",
        )
    vertices = _array(path, arrays, "vertices", (None, 3), "f")
    cells = _array(path, arrays, "cells", (None, 4), "iu")
    weights = _array(path, arrays, "weights", (len(cells),), "f")
    segment = _array(path, arrays, "segment", (len(cells),), "iu")
    fixed = _array(path, arrays, "fixed", (len(vertices),), "b")
    labels, pixel_size = None, None
    if "labels" in arrays or "pixel_size" in arrays:
        labels = _array(path, arrays, "labels", (None, None, None), "iu").astype(np.int64)
        pixel_size = float(_array(path, arrays, "pixel_size", (), "f"))
    mesh = MeshArrays(
        vertices.astype(np.float32),
        cells.astype(np.int64),
        weights.astype(np.float32),
        segment.astype(np.int64),
        fixed.astype(bool),
        labels,
        pixel_size,
    )
    require_sound(path, mesh)
    return mesh


def require_sound(path: Path, mesh: MeshArrays) -> None:
    """Check what the arrays of a mesh say about each other.

    Raises:
        InputError: no cells, a value that is not finite, a negative weight or segment, a cell with a vertex that does
            not exist, labels that are not cubic or name a segment without cells, or a pixel size that is not positive.
    """
    if len(mesh.cells) == 0:
        raise InputError(
            "mesh-file.empty",
            "this mesh has no cells",
            file=path,
            field="cells",
            found="0 of them",
            fix="build it again with dynaflex mesh",
        )
    _require(path, "vertices", np.isfinite(mesh.vertices).all(axis=1), "finite positions in Å")
    known = ((mesh.cells >= 0) & (mesh.cells < len(mesh.vertices))).all(axis=1)
    _require(path, "cells", known, f"vertices 0 to {len(mesh.vertices) - 1}")
    _require(path, "weights", np.isfinite(mesh.weights) & (mesh.weights >= 0), "finite weights, none negative")
    _require(path, "segment", mesh.segment >= 0, "numbers from 0 up")
    if mesh.labels is None or mesh.pixel_size is None:
        return
    if len(set(mesh.labels.shape)) != 1:
        raise _defect(path, "labels", "a cube", " x ".join(map(str, mesh.labels.shape)))
    if not (np.isfinite(mesh.pixel_size) and mesh.pixel_size > 0):
        raise _defect(path, "pixel_size", "Å per voxel", mesh.pixel_size)
    homeless = np.setdiff1d(mesh.labels[mesh.labels >= 0], mesh.segment)
    if len(homeless) > 0:
        raise _defect(path, "labels", "segments that have cells", f"segment {int(homeless[0])}, which has none")


def _read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        raise InputError("mesh-file.missing", "no such file", file=path, fix="check the path of the mesh")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with archive:
            return {name: archive[name] for name in archive.files if name in _REQUIRED + _OPTIONAL}
    except UNREADABLE as error:
        raise InputError(
            "mesh-file.unreadable",
            "this is no readable mesh",
            file=path,
            expected="a .npz archive of plain arrays",
            found=describe_file(path),
            fix="build it again; a mesh file of cryoSPARC is converted by: dynaflex mesh MAP --from FILE -o MESH.npz",
        ) from error


def _array(
    path: Path, arrays: dict[str, NDArray[np.generic]], name: str, shape: tuple[int | None, ...], kinds: str
) -> NDArray[np.generic]:
    """One array, if it has the shape (None for any length) and one of the kinds (NumPy's letters)."""
    if name not in arrays:
        raise InputError(
            "mesh-file.missing-array",
            "this mesh lacks an array",
            file=path,
            field=name,
            expected=", ".join(_REQUIRED),
            found=", ".join(sorted(arrays)) or "none of them",
            fix="build it again with dynaflex mesh",
        )
    array = arrays[name]
    fits = array.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape, strict=False))
    if not fits or array.dtype.kind not in kinds:
        wanted = " x ".join("n" if n is None else str(n) for n in shape) or "one number"
        kind = {"f": "real numbers", "iu": "integers", "b": "true or false"}[kinds]
        raise _defect(path, name, f"{wanted}, {kind}", f"{' x '.join(map(str, array.shape))}, {array.dtype}")
    return array


def _require(path: Path, name: str, good: ArrayLike, expected: str) -> None:
    bad = np.flatnonzero(np.logical_not(good))
    if len(bad) > 0:
        raise InputError(
            "mesh-file.value",
            f"{len(bad)} of {np.size(good)} values cannot be used",
            file=path,
            field=name,
            row=int(bad[0]),
            expected=expected,
            fix="build it again with dynaflex mesh",
        )


def _defect(path: Path, name: str, expected: object, found: object) -> InputError:
    return InputError(
        "mesh-file.array",
        "an array of this mesh is wrong",
        file=path,
        field=name,
        expected=expected,
        found=found,
        fix="build it again with dynaflex mesh",
    )
