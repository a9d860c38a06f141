"""Laws of cryoSPARC's mesh file: it comes back in our frame, whatever its own was, and nothing in it is run."""

from __future__ import annotations

import pickle  # noqa: TID251  (to make what is to be read, and what is to be refused)
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import Delaunay

from dynaflex.errors import InputError
from dynaflex.io.foreign.product_mesh import read_product_mesh, write_product_mesh
from dynaflex.io.mesh_file import MeshArrays

BOX, PIXEL = 20, 1.7


@pytest.fixture
def mesh() -> MeshArrays:
    """An irregular mesh without a symmetry that could hide a wrong axis."""
    rng = np.random.default_rng(5)
    vertices = (rng.uniform(-14.0, 14.0, size=(40, 3)) * [1.0, 0.8, 0.6]).astype(np.float32)
    shape = Delaunay(vertices)
    cells = shape.simplices.astype(np.int64)
    segment = (vertices[cells].mean(axis=1)[:, 0] > 0).astype(np.int64)
    weights = rng.uniform(0.5, 1.0, len(cells)).astype(np.float32)
    carrier = carrier_of(shape)
    labels = np.where(carrier >= 0, segment[carrier], -1)
    return MeshArrays(vertices, cells, weights, segment, np.zeros(40, dtype=bool), labels, PIXEL)


def carrier_of(shape: Delaunay) -> np.ndarray:
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return shape.find_simplex(np.stack([x, y, z], axis=-1)).astype(np.int64)


def content_of(mesh: MeshArrays) -> dict[str, Any]:
    """What the product writes, in the frame that is assumed to be its own."""
    assert mesh.labels is not None
    carrier = carrier_of(Delaunay(mesh.vertices))
    return {
        "mask": mesh.labels >= 0, "mask_soft": (mesh.labels >= 0).astype(np.float32), "N": BOX, "psize_A": PIXEL,
        "tm_points": mesh.vertices, "tm_cells": mesh.cells, "tm_tetraidx_map": carrier,
        "tm_rweights": mesh.weights, "tm_segmask": mesh.segment, "segfuses": None, "version": 1,
    }  # fmt: skip


def store(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def assert_same(found: MeshArrays, expected: MeshArrays) -> None:
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-4)
    for name in ("cells", "weights", "segment", "fixed", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.pixel_size == PIXEL


FRAMES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Å from the centre": lambda x: x,
    "Å from the corner": lambda x: x + BOX // 2 * PIXEL,
    "voxels from the centre": lambda x: x / PIXEL,
    "voxels from the corner": lambda x: x / PIXEL + BOX // 2,
    "boxes from the centre": lambda x: x / (BOX * PIXEL),
    "z y x in Å": lambda x: x[:, ::-1],
    "z y x in voxels from the corner": lambda x: x[:, ::-1] / PIXEL + BOX // 2,
}


@pytest.mark.parametrize("frame", FRAMES)
def test_the_frame_is_found_from_the_voxels(tmp_path: Path, mesh: MeshArrays, frame: str) -> None:
    content = content_of(mesh)
    content["tm_points"] = FRAMES[frame](mesh.vertices.astype(np.float64))
    assert_same(read_product_mesh(store(tmp_path / "m.pkl", content)), mesh)


def test_what_is_written_comes_back(tmp_path: Path, mesh: MeshArrays) -> None:
    assert mesh.labels is not None
    carrier = carrier_of(Delaunay(mesh.vertices))
    write_product_mesh(tmp_path / "m.pkl", mesh, carrier, (carrier >= 0).astype(np.float32), PIXEL)
    assert_same(read_product_mesh(tmp_path / "m.pkl"), mesh)


def test_what_is_written_has_the_entries_that_the_product_asks_for(tmp_path: Path, mesh: MeshArrays) -> None:
    carrier = carrier_of(Delaunay(mesh.vertices))
    write_product_mesh(tmp_path / "m.pkl", mesh, carrier, (carrier >= 0).astype(np.float32), PIXEL)
    raw = (tmp_path / "m.pkl").read_bytes()
    assert b"numpy._core" not in raw, "numpy 1 does not know this name"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        content = pickle.loads(raw)
    assert {
        "mask", "mask_soft", "N", "psize_A", "tm_points", "tm_cells", "tm_tetraidx_map", "tm_rweights", "version",
    } <= set(content)  # fmt: skip
    assert content["version"] == 1 and content["N"] == BOX
    assert content["tm_tetraidx_map"].shape == content["mask"].shape == (BOX,) * 3
    np.testing.assert_array_equal(content["segmask_exp"], mesh.labels)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path: Path, mesh: MeshArrays, protocol: int) -> None:
    assert_same(read_product_mesh(store(tmp_path / "m.pkl", content_of(mesh), protocol)), mesh)


def test_a_mesh_without_segments_has_no_labels(tmp_path: Path, mesh: MeshArrays) -> None:
    content = content_of(mesh)
    del content["tm_segmask"]
    found = read_product_mesh(store(tmp_path / "m.pkl", content))
    assert found.labels is None and found.pixel_size is None
    assert not found.segment.any()


def test_unused_points_are_left_out(tmp_path: Path, mesh: MeshArrays) -> None:
    content = content_of(mesh)
    content["tm_points"] = np.concatenate([np.full((3, 3), 99.0), mesh.vertices])
    content["tm_cells"] = mesh.cells + 3
    assert_same(read_product_mesh(store(tmp_path / "m.pkl", content)), mesh)


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


@pytest.mark.parametrize("place", ["instead", "inside", "beside"])
def test_code_in_the_file_is_refused_and_not_run(tmp_path: Path, mesh: MeshArrays, place: str) -> None:
    trap = Calls(exec, f"open({str(tmp_path / 'trace')!r}, 'w')")
    content: object = trap
    if place == "inside":
        content = content_of(mesh) | {"tm_points": trap}
    if place == "beside":
        content = content_of(mesh) | {"comment": [trap]}
    store(tmp_path / "m.pkl", content)
    with pytest.raises(InputError) as caught:
        read_product_mesh(tmp_path / "m.pkl")
    assert caught.value.identifier == "pickle.refused"
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("change", "identifier", "field"),
    [
        (lambda c: c.pop("tm_points"), "product-mesh.missing-key", "tm_points"),
        (lambda c: c.pop("N"), "product-mesh.missing-key", "N"),
        (lambda c: c.update(N="twenty"), "product-mesh.value", "N"),
        (lambda c: c.update(N=24), "product-mesh.value", "tm_tetraidx_map"),
        (lambda c: c.update(tm_points=[[1.0, 2.0, 3.0], [4.0]]), "product-mesh.value", "tm_points"),
        (lambda c: c.update(tm_points=None), "product-mesh.value", "tm_points"),
        (lambda c: c.update(tm_cells=c["tm_cells"] + 0.5), "product-mesh.value", "tm_cells"),
        (lambda c: c.update(tm_tetraidx_map=np.full((BOX,) * 3, np.nan)), "product-mesh.value", "tm_tetraidx_map"),
        (lambda c: c.update(psize_A=0.0), "product-mesh.value", "psize_A"),
        (lambda c: c.update(psize_A=float("nan")), "product-mesh.value", "psize_A"),
        (lambda c: c.update(tm_cells=c["tm_cells"][:, :3]), "product-mesh.value", "tm_cells"),
        (lambda c: c.update(tm_rweights=c["tm_rweights"][:-1]), "product-mesh.value", "tm_rweights"),
        (lambda c: c.update(tm_points=c["tm_points"][:-5]), "mesh-file.value", "cells"),
        (lambda c: c.update(tm_rweights=-c["tm_rweights"]), "mesh-file.value", "weights"),
        (lambda c: c.update(tm_tetraidx_map=c["tm_tetraidx_map"] + 9999), "product-mesh.value", "tm_tetraidx_map"),
        (lambda c: c.update(tm_tetraidx_map=0 * c["tm_tetraidx_map"] - 1), "product-mesh.value", "tm_tetraidx_map"),
        (lambda c: c.update(tm_points=c["tm_points"] * [1, 1, -1]), "product-mesh.frame", "tm_points"),
        (lambda c: c.update(tm_points=0 * c["tm_points"]), "product-mesh.frame", "tm_points"),
    ],
)
def test_a_defect_is_named_with_its_entry(
    tmp_path: Path, mesh: MeshArrays, change: Callable[[dict[str, Any]], object], identifier: str, field: str
) -> None:
    content = content_of(mesh)
    change(content)
    with pytest.raises(InputError) as caught:
        read_product_mesh(store(tmp_path / "m.pkl", content))
    assert (caught.value.identifier, caught.value.field) == (identifier, field)


def test_whole_numbers_may_be_stored_as_real_ones(tmp_path: Path, mesh: MeshArrays) -> None:
    content = content_of(mesh)
    for name in ("tm_cells", "tm_tetraidx_map", "tm_segmask"):
        content[name] = content[name].astype(np.float32)
    assert_same(read_product_mesh(store(tmp_path / "m.pkl", content)), mesh)


def test_another_object_is_no_mesh(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_product_mesh(store(tmp_path / "m.pkl", [np.zeros(3)]))
    assert caught.value.identifier == "product-mesh.no-dictionary"
