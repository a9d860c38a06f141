"""The mesh file of cryoSPARC's 3D Flex Mesh Prep: a pickled dictionary of arrays, read without running it.

Read are ``tm_points`` (v 3), ``tm_cells`` (t 4), ``tm_rweights`` (t), ``tm_segmask`` (t, the segment of each cell),
``tm_tetraidx_map`` (N N N, the cell of each voxel, -1 in solvent), ``N`` and ``psize_A``. Written are also
``segmask_exp`` (N N N, the segment of each voxel), ``mask``, ``mask_soft`` and ``version`` 1.

What is published does not say in which unit and order of axes ``tm_points`` are, only that their norm is the distance
from the centre of the box. So a file is asked itself: of all frames, the right one is that in which its voxels lie in
the cells that its own ``tm_tetraidx_map`` gives them. A file written here has (x, y, z) in Å from the box centre.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io.foreign.pickled import write_pickled
from dynaflex.io.foreign.restricted_pickle import load_arrays
from dynaflex.io.mesh_file import MeshArrays, require_sound
from dynaflex.shapes import Array, FloatArray, IntArray

_VERSION = 1
_SAMPLED_VOXELS = 4000
# Barycentric coordinates of voxels near a face may be off by the rounding of positions to float32 or to voxels.
_SLACK = 0.02
_AGREEMENT = 0.95


def read_product_mesh(path: Path | str) -> MeshArrays:
    """Read a mesh file of the product into the frame of the consensus map; vertices that no cell uses are left out.

    Raises:
        InputError: missing, not a pickle of plain arrays, a key missing or of the wrong shape, cells that do not exist,
            or no frame in which the voxels lie in their cells.
    """
    path = Path(path)
    content = load_arrays(path)
    if not isinstance(content, dict):
        raise InputError(
            "product-mesh.no-dictionary",
            "this is no mesh file of 3D Flex",
            file=path,
            expected="a dictionary of arrays",
            found=type(content).__name__,
            fix="give the mesh file of a 3D Flex Mesh Prep job",
        )
    box = int(_number(path, content, "N"))
    pixel_size = _number(path, content, "psize_A")
    points = _array(path, content, "tm_points", (None, 3)).astype(np.float64)
    cells = _integers(path, content, "tm_cells", (None, 4))
    carrier = _integers(path, content, "tm_tetraidx_map", (box, box, box))
    weights = _array(path, content, "tm_rweights", (len(cells),)).astype(np.float32)
    if carrier.max(initial=-1) >= len(cells):
        raise _wrong(path, "tm_tetraidx_map", f"cells up to {len(cells) - 1}", int(carrier.max()))
    segment, labels = _segments(path, content, carrier, len(cells))
    require_sound(path, _arrays(points, cells, weights, segment))
    vertices = _in_map_frame(path, points, cells, carrier, pixel_size)
    used, index = np.unique(cells, return_inverse=True)
    mesh = _arrays(vertices[used], index.reshape(-1, 4), weights, segment, labels, pixel_size)
    require_sound(path, mesh)
    return mesh


def write_product_mesh(
    path: Path | str, mesh: MeshArrays, carrier: IntArray, mask: FloatArray, pixel_size: float
) -> None:
    """Write a mesh for the product. ``carrier`` ``(d d d)`` is the cell of each voxel or -1, ``mask`` ``(d d d)`` soft.

    The product has no vertices that are fixed; a stationary region can be given to it as a rigid segment.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    content = {
        "version": _VERSION,
        "N": int(mask.shape[0]),
        "psize_A": float(pixel_size),
        "mask": (mask > 0.5).astype(np.float32),
        "mask_soft": mask.astype(np.float32),
        "tm_points": mesh.vertices.astype(np.float32),
        "tm_cells": mesh.cells,
        "tm_tetraidx_map": carrier.astype(np.int32),
        "tm_rweights": mesh.weights.astype(np.float32),
        "tm_segmask": mesh.segment,
    }
    if mesh.labels is not None:
        content["segmask_exp"] = mesh.labels.astype(np.int32)
    write_pickled(path, content)


def _arrays(
    vertices: NDArray[np.floating[Any]],
    cells: IntArray,
    weights: FloatArray,
    segment: IntArray,
    labels: IntArray | None = None,
    pixel_size: float | None = None,
) -> MeshArrays:
    fixed = np.zeros(len(vertices), dtype=bool)
    return MeshArrays(
        vertices.astype(np.float32), cells, weights, segment, fixed, labels, None if labels is None else pixel_size
    )


def _segments(path: Path, content: dict[Any, Any], carrier: IntArray, n_cells: int) -> tuple[IntArray, IntArray | None]:
    """The segment of every cell, and of every voxel where there are several."""
    if content.get("tm_segmask") is None:
        return np.zeros(n_cells, dtype=np.int64), None
    segment = _integers(path, content, "tm_segmask", (n_cells,))
    if len(np.unique(segment)) == 1:
        return segment, None
    return segment, np.where(carrier >= 0, segment[carrier], -1)


def _in_map_frame(
    path: Path, points: Array, cells: IntArray, carrier: IntArray, pixel_size: float
) -> NDArray[np.floating[Any]]:
    """The points in Å from the box centre, in the frame in which voxels lie in the cells they are said to lie in."""
    box = len(carrier)
    voxels = np.argwhere(carrier >= 0)
    if len(voxels) == 0:
        raise _wrong(path, "tm_tetraidx_map", "voxels that lie in a cell", "-1 everywhere")
    voxels = voxels[:: max(1, len(voxels) // _SAMPLED_VOXELS)]
    cell = carrier[tuple(voxels.T)]
    where = (voxels[:, ::-1] - box // 2) * pixel_size
    frames: list[tuple[float, NDArray[np.floating[Any]]]] = []
    for unit, corner, order in itertools.product((1.0, pixel_size, box * pixel_size), (False, True), (1, -1)):
        candidate = points[:, ::order] * unit - (box // 2 * pixel_size if corner else 0.0)
        frames.append((_share_inside(candidate[cells[cell]], where), candidate))
    share, best = max(frames, key=lambda frame: frame[0])
    if share < _AGREEMENT:
        raise InputError(
            "product-mesh.frame",
            "the voxels of this mesh do not lie in the cells that it gives them, in whichever unit and origin",
            file=path,
            field="tm_points",
            expected="points in Å or voxels, from the centre or the corner of the box",
            found=f"{100 * share:.0f} % of the voxels in their cell",
            fix="write tm_tetraidx_map for these points, or convert the mesh to .npz",
        )
    return best


def _share_inside(corners: NDArray[np.floating[Any]], where: NDArray[np.floating[Any]]) -> float:
    """How many of the points ``(n 3)`` lie in the tetrahedron ``(n 4 3)`` of the same number, from 0 to 1."""
    edges = (corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1)
    solid = np.abs(np.linalg.det(edges)) > 1e-12 * np.abs(edges).max(axis=(1, 2)) ** 3
    values = np.linalg.solve(edges[solid], (where - corners[:, 0])[solid][:, :, None])[:, :, 0]
    inside = (values >= -_SLACK).all(axis=1) & (values.sum(axis=1) <= 1 + _SLACK)
    return float(inside.sum()) / len(where)


def _number(path: Path, content: dict[Any, Any], name: str) -> float:
    value = _array(path, content, name, ())
    if not float(value) > 0:
        raise _wrong(path, name, "a number above 0", value)
    return float(value)


def _integers(path: Path, content: dict[Any, Any], name: str, shape: tuple[int | None, ...]) -> IntArray:
    array = _array(path, content, name, shape)
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        raise _wrong(path, name, "whole numbers", array.dtype)
    return array.astype(np.int64)


def _array(path: Path, content: dict[Any, Any], name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    if name not in content:
        raise InputError(
            "product-mesh.missing-key",
            "this mesh file lacks an entry",
            file=path,
            field=name,
            expected="N, psize_A, tm_points, tm_cells, tm_tetraidx_map, tm_rweights",
            found=", ".join(map(str, content)) or "nothing",
            fix="give the mesh file of a 3D Flex Mesh Prep job",
        )
    try:
        array = np.asarray(content[name])
    except ValueError as error:
        raise _wrong(path, name, "an array", "lists of different lengths") from error
    fits = array.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape, strict=False))
    if not fits or array.dtype.kind not in "biuf":
        wanted = " x ".join("n" if n is None else str(n) for n in shape) or "one number"
        raise _wrong(path, name, wanted, f"{' x '.join(map(str, array.shape))}, {array.dtype}")
    return array


def _wrong(path: Path, name: str, expected: object, found: object) -> InputError:
    return InputError(
        "product-mesh.value",
        "an entry of this mesh is wrong",
        file=path,
        field=name,
        expected=expected,
        found=found,
        fix="give the mesh file as 3D Flex Mesh Prep wrote it",
    )
