"""Laws of mesh files: what is written comes back, and no defect of a file becomes a mesh."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import InputError
from dynaflex.io.mesh_file import MeshArrays, read_mesh, write_mesh


@pytest.fixture
def mesh() -> MeshArrays:
    """Two tetrahedra that share a face, each of its own segment."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=np.float32)
    labels = np.full((4, 4, 4), -1, dtype=np.int64)
    labels[1, 1, 1], labels[2, 2, 2] = 0, 3
    return MeshArrays(
        vertices,
        np.array([[0, 1, 2, 3], [4, 1, 2, 3]], dtype=np.int64),
        np.array([0.5, 20.0], dtype=np.float32),
        np.array([0, 3], dtype=np.int64),
        np.array([True, False, False, False, False]),
        labels,
        1.25,
    )


def same(first: MeshArrays, second: MeshArrays) -> bool:
    pairs = [(getattr(first, field.name), getattr(second, field.name)) for field in fields(MeshArrays)]
    return all(np.array_equal(one, other) and np.asarray(one).dtype == np.asarray(other).dtype for one, other in pairs)


def test_a_mesh_comes_back(tmp_path: Path, mesh: MeshArrays) -> None:
    for stored in (mesh, replace(mesh, labels=None, pixel_size=None)):
        write_mesh(tmp_path / "m.npz", stored)
        assert same(read_mesh(tmp_path / "m.npz"), stored)


def test_equal_meshes_give_equal_bytes(tmp_path: Path, mesh: MeshArrays) -> None:
    for name in ("a.npz", "b.npz"):
        write_mesh(tmp_path / name, mesh)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_user_can_write_one_with_numpy(tmp_path: Path, mesh: MeshArrays) -> None:
    arrays = {field.name: getattr(mesh, field.name) for field in fields(MeshArrays)}
    arrays["vertices"] = arrays["vertices"].astype(np.float64)
    arrays["cells"] = arrays["cells"].astype(np.uint16)
    np.savez_compressed(tmp_path / "m.npz", version=1, note=np.array("mine"), **arrays)
    assert same(read_mesh(tmp_path / "m.npz"), mesh)


def changed(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[index] = value
    return array


DEFECTS: dict[str, tuple[Callable[[dict[str, np.ndarray]], dict[str, object]], str, str]] = {
    "another version": (lambda a: {"version": 2}, "version", "mesh-file.version"),
    "version of another kind": (lambda a: {"version": 1.5}, "version", "mesh-file.array"),
    "no vertices": (lambda a: {"vertices": None}, "vertices", "mesh-file.missing-array"),
    "no weights": (lambda a: {"weights": None}, "weights", "mesh-file.missing-array"),
    "labels without a pixel size": (lambda a: {"pixel_size": None}, "pixel_size", "mesh-file.missing-array"),
    "a pixel size without labels": (lambda a: {"labels": None}, "labels", "mesh-file.missing-array"),
    "flat vertices": (lambda a: {"vertices": a["vertices"][:, :2]}, "vertices", "mesh-file.array"),
    "vertices of whole numbers": (lambda a: {"vertices": a["vertices"].astype(int)}, "vertices", "mesh-file.array"),
    "triangles": (lambda a: {"cells": a["cells"][:, :3]}, "cells", "mesh-file.array"),
    "cells of real numbers": (lambda a: {"cells": a["cells"].astype(float)}, "cells", "mesh-file.array"),
    "too few weights": (lambda a: {"weights": a["weights"][:1]}, "weights", "mesh-file.array"),
    "too many segments": (lambda a: {"segment": np.zeros(3, int)}, "segment", "mesh-file.array"),
    "fixed of each cell": (lambda a: {"fixed": np.zeros(2, bool)}, "fixed", "mesh-file.array"),
    "fixed of numbers": (lambda a: {"fixed": np.zeros(5)}, "fixed", "mesh-file.array"),
    "text": (lambda a: {"segment": np.array(["a", "b"])}, "segment", "mesh-file.array"),
    "flat labels": (lambda a: {"labels": a["labels"][0]}, "labels", "mesh-file.array"),
    "labels that are no cube": (lambda a: {"labels": a["labels"][:2]}, "labels", "mesh-file.array"),
    "a label without cells": (lambda a: {"labels": changed(a["labels"], (0, 0, 0), 2)}, "labels", "mesh-file.array"),
    "no pixel size to speak of": (lambda a: {"pixel_size": 0.0}, "pixel_size", "mesh-file.array"),
    "a vertex nowhere": (
        lambda a: {"vertices": changed(a["vertices"], (3, 1), np.nan)}, "vertices", "mesh-file.value",
    ),
    "a missing vertex": (lambda a: {"cells": changed(a["cells"], (1, 0), 5)}, "cells", "mesh-file.value"),
    "a negative vertex": (lambda a: {"cells": changed(a["cells"], (1, 0), -1)}, "cells", "mesh-file.value"),
    "a negative weight": (lambda a: {"weights": changed(a["weights"], (1,), -1)}, "weights", "mesh-file.value"),
    "an infinite weight": (lambda a: {"weights": changed(a["weights"], (1,), np.inf)}, "weights", "mesh-file.value"),
    "a negative segment": (lambda a: {"segment": changed(a["segment"], (1,), -1)}, "segment", "mesh-file.value"),
    "no cells": (
        lambda a: {"cells": a["cells"][:0], "weights": a["weights"][:0], "segment": a["segment"][:0]},
        "cells", "mesh-file.empty",
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_named_with_its_array(tmp_path: Path, mesh: MeshArrays, defect: str) -> None:
    spoil, field, identifier = DEFECTS[defect]
    arrays = {"version": np.array(1), **{f.name: np.asarray(getattr(mesh, f.name)) for f in fields(MeshArrays)}}
    kept = {name: value for name, value in {**arrays, **spoil(arrays)}.items() if value is not None}
    np.savez(tmp_path / "m.npz", **kept)
    with pytest.raises(InputError) as caught:
        read_mesh(tmp_path / "m.npz")
    error = caught.value
    assert (error.identifier, error.field, error.file) == (identifier, field, tmp_path / "m.npz")
    assert error.expected is not None or error.found is not None


def test_objects_are_not_unpickled(tmp_path: Path, mesh: MeshArrays) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (tmp_path / "trace").touch, ()  # type: ignore[return-value]

    write_mesh(tmp_path / "m.npz", mesh)
    np.savez(tmp_path / "m.npz", version=1, vertices=np.array([Trap()], dtype=object))
    with pytest.raises(InputError) as caught:
        read_mesh(tmp_path / "m.npz")
    assert caught.value.identifier == "mesh-file.unreadable"
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"MAP 1234", b"PK\x03\x04 and no archive", b"\x93NUMPY\x01\x00"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_mesh(tmp_path / "m.npz")
    assert caught.value.identifier == "mesh-file.unreadable"


def test_a_single_array_is_no_mesh(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros(3))
    with pytest.raises(InputError) as caught:
        read_mesh(tmp_path / "m.npy")
    assert caught.value.identifier == "mesh-file.unreadable"


def test_a_cut_archive_is_refused(tmp_path: Path, mesh: MeshArrays) -> None:
    write_mesh(tmp_path / "m.npz", mesh)
    whole = (tmp_path / "m.npz").read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "m.npz").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_mesh(tmp_path / "m.npz")


def test_a_spoilt_byte_is_noticed_or_does_no_harm(tmp_path: Path, mesh: MeshArrays) -> None:
    write_mesh(tmp_path / "m.npz", mesh)
    whole = (tmp_path / "m.npz").read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole), size=300):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << rng.integers(8)
        (tmp_path / "m.npz").write_bytes(spoilt)
        with suppress(InputError):
            found = read_mesh(tmp_path / "m.npz")
            assert same(found, mesh) or same(found, replace(mesh, labels=None, pixel_size=None))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_mesh(tmp_path / "none.npz")
    assert caught.value.identifier == "mesh-file.missing"
