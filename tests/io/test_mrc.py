from __future__ import annotations

import os
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dynaflex.errors import EnvironmentFault, InputError
from dynaflex.io import mrc_header
from dynaflex.io.mrc import ImageStack, Place, read_map, write_map, write_stack

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no experimental data in {SHARED}")


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 6, 6)).astype(np.float32)


def edit_header(path: Path, field: str, value: object) -> None:
    with mrcfile.open(path, "r+", permissive=True) as file:
        file.header[field] = value


def test_a_map_survives(tmp_path: Path, volume: np.ndarray) -> None:
    write_map(tmp_path / "m.mrc", volume, 1.05, Place((1.0, -2.0, 3.5)))
    read = read_map(tmp_path / "m.mrc")
    np.testing.assert_array_equal(read.data, volume)
    assert read.data.dtype == np.float32
    assert read.pixel_size == 1.05
    assert read.origin == (1.0, -2.0, 3.5)
    assert read.box == 6


@pytest.mark.parametrize(
    "place",
    [Place(), Place(start=(-60, 4, 9)), Place((-12.5, 0.1, 7.25)), Place((-90.0, 6.0, 13.5), (-60, 4, 9))],
)
def test_the_place_of_a_map_is_kept_to_the_letter(tmp_path: Path, volume: np.ndarray, place: Place) -> None:
    """Whether a header says it in Å, by the number of the first voxel, or in both ways."""
    with mrcfile.new(tmp_path / "m.mrc") as file:
        file.set_data(volume)
        file.voxel_size = 1.5
        file.header.origin = place.origin
        file.header.nxstart, file.header.nystart, file.header.nzstart = place.start
    read = read_map(tmp_path / "m.mrc")
    write_map(tmp_path / "again.mrc", read.data, 1.5, read.place)
    for name in ("m.mrc", "again.mrc"):
        with mrcfile.open(tmp_path / name, header_only=True) as file:
            header = file.header
            assert tuple(header.origin.tolist()) == tuple(np.float32(value) for value in place.origin)
            assert (header.nxstart, header.nystart, header.nzstart) == place.start
    corner = place.origin if any(place.origin) else tuple(1.5 * number for number in place.start)
    np.testing.assert_allclose(read.origin, corner, rtol=1e-6)


def test_a_resampled_map_keeps_its_corner() -> None:
    for place in (Place(start=(-60, 4, 8)), Place(start=(-60, 5, 7)), Place((3.25, 0.0, -1.0), (1, 0, 0))):
        coarser = place.resampled(1.5, 3.0)
        assert coarser.corner(3.0) == place.corner(1.5)
    assert Place(start=(-60, 4, 8)).resampled(1.5, 3.0).start == (-30, 2, 4)


def test_mrcfile_reads_what_is_written(tmp_path: Path, volume: np.ndarray) -> None:
    write_map(tmp_path / "m.mrc", volume, 1.5)
    write_stack(tmp_path / "s.mrcs", volume[:, :4, :4], 2.0)
    for name, array in (("m.mrc", volume), ("s.mrcs", volume[:, :4, :4])):
        assert mrcfile.validate(tmp_path / name)
        with mrcfile.open(tmp_path / name) as file:
            np.testing.assert_array_equal(file.data, array)
            assert file.is_volume() == (name == "m.mrc")
            assert float(file.voxel_size.x) == (1.5 if name == "m.mrc" else 2.0)


def test_equal_volumes_give_equal_bytes(tmp_path: Path, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    write_map(tmp_path / "1.mrc", volume, 1.0)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_map(tmp_path / "2.mrc", np.asfortranarray(volume), 1.0)
    assert (tmp_path / "1.mrc").read_bytes() == (tmp_path / "2.mrc").read_bytes()


def test_unwritable_output(tmp_path: Path, volume: np.ndarray) -> None:
    with pytest.raises(EnvironmentFault):
        write_map(tmp_path / "none" / "m.mrc", volume, 1.0)


def test_axes_are_brought_into_order(tmp_path: Path, volume: np.ndarray) -> None:
    # Columns along z, rows along x, sections along y: the value at [y, x, z] on disk is the map's at [z, y, x].
    write_map(tmp_path / "m.mrc", volume.transpose(1, 2, 0), 1.0)
    for field, value in (("mapc", 3), ("mapr", 1), ("maps", 2)):
        edit_header(tmp_path / "m.mrc", field, value)
    np.testing.assert_array_equal(read_map(tmp_path / "m.mrc").data, volume)


def test_a_header_without_pixel_size(tmp_path: Path, volume: np.ndarray) -> None:
    write_map(tmp_path / "m.mrc", volume, 1.0)
    edit_header(tmp_path / "m.mrc", "cella", (0, 0, 0))
    assert read_map(tmp_path / "m.mrc").pixel_size is None


def test_maps_that_are_refused(tmp_path: Path, volume: np.ndarray) -> None:
    path = tmp_path / "m.mrc"
    write_map(path, volume[:4], 1.0)
    with pytest.raises(InputError, match="6 x 6 x 4") as caught:
        read_map(path)
    assert caught.value.identifier == "mrc.not-cubic"

    broken = volume.copy()
    broken[1, 2, 3] = np.nan
    write_map(path, broken, 1.0)
    with pytest.raises(InputError, match="x=3 y=2 z=1") as caught:
        read_map(path)
    assert caught.value.identifier == "mrc.not-finite"

    write_map(path, volume, 1.0)
    edit_header(path, "cella", (6, 6, 9))
    with pytest.raises(InputError) as caught:
        read_map(path)
    assert caught.value.identifier == "mrc.voxel-not-cubic"

    with pytest.raises(InputError) as caught:
        read_map(tmp_path / "none.mrc")
    assert caught.value.identifier == "mrc.missing"


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<html>" * 400])
def test_what_is_not_mrc_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.mrc").write_bytes(content)
    with pytest.raises(InputError) as caught:
        ImageStack.open(tmp_path / "m.mrc")
    assert caught.value.identifier == "mrc.not-mrc"


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
def test_every_kind_of_stack_gives_its_values(tmp_path: Path, dtype: str, byte_order: str) -> None:
    images = np.random.default_rng(2).integers(0, 100, size=(5, 4, 4)).astype(np.dtype(dtype).newbyteorder(byte_order))
    with mrcfile.new(tmp_path / "s.mrcs") as file:
        file.set_data(images)
        file.set_extended_header(np.zeros(7, dtype="V32"))
        file.set_image_stack()
    if dtype != "i1":
        assert (tmp_path / "s.mrcs").read_bytes()[212] == (0x44 if byte_order == "<" else 0x11)
    stack = ImageStack.open(tmp_path / "s.mrcs")
    assert (stack.n_images, stack.box, stack.pixel_size) == (5, 4, None)
    read = stack.read(np.array([4, 0, 4]))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, images[[4, 0, 4]].astype(np.float32))


@pytest.mark.parametrize("stamp", [b"\x00\x00\x00\x00", b"\x44\x44\x00\x00"])
def test_byte_order_is_the_one_that_makes_sense(tmp_path: Path, stamp: bytes) -> None:
    images = np.arange(32, dtype=">f4").reshape(2, 4, 4)
    with mrcfile.new(tmp_path / "s.mrcs") as file:
        file.set_data(images)
    raw = bytearray((tmp_path / "s.mrcs").read_bytes())
    assert raw[212] == 0x11
    raw[208:216] = b"\0\0\0\0" + stamp
    (tmp_path / "s.mrcs").write_bytes(raw)
    np.testing.assert_array_equal(ImageStack.open(tmp_path / "s.mrcs").read(np.array([1])), images[1:])


def test_a_single_image_is_a_stack_of_one(tmp_path: Path) -> None:
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    with mrcfile.new(tmp_path / "s.mrc") as file:
        file.set_data(image)
    stack = ImageStack.open(tmp_path / "s.mrc")
    assert stack.n_images == 1
    np.testing.assert_array_equal(stack.read(np.array([0])), image[None])


def test_a_truncated_stack_says_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "s.mrcs"
    write_stack(path, np.ones((5, 4, 4), dtype=np.float32), 1.0)
    os.truncate(path, 1024 + 3 * 64 + 10)
    with pytest.raises(InputError, match=r"3 of 5 .*1344 bytes.*1226 bytes") as caught:
        ImageStack.open(path)
    assert caught.value.identifier == "mrc.truncated"


def test_stacks_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.mrcs"
    write_stack(path, np.ones((2, 4, 6), dtype=np.float32), 1.0)
    with pytest.raises(InputError) as caught:
        ImageStack.open(path)
    assert caught.value.identifier == "mrc.not-square"
    with mrcfile.new(tmp_path / "c.mrcs") as file:
        file.set_data(np.ones((2, 4, 4), dtype=np.complex64))
    with pytest.raises(InputError) as caught:
        ImageStack.open(tmp_path / "c.mrcs")
    assert caught.value.identifier == "mrc.mode"


@pytest.mark.parametrize("index", [-1, 2])
def test_an_image_that_is_not_there(tmp_path: Path, index: int) -> None:
    write_stack(tmp_path / "s.mrcs", np.ones((2, 4, 4), dtype=np.float32), 1.0)
    with pytest.raises(InputError) as caught:
        ImageStack.open(tmp_path / "s.mrcs").read(np.array([0, index]))
    assert caught.value.identifier == "mrc.image-index"
    assert caught.value.found == index + 1


def test_few_files_stay_open(tmp_path: Path) -> None:
    stacks = []
    for i in range(mrc_header._OPEN_STACKS + 20):
        write_stack(tmp_path / f"{i}.mrcs", np.full((1, 4, 4), i, dtype=np.float32), 1.0)
        stacks.append(ImageStack.open(tmp_path / f"{i}.mrcs"))
    for _ in range(2):
        for i, stack in enumerate(stacks):
            assert stack.read(np.array([0])).mean() == i
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert maps.read_text().count(str(tmp_path)) <= mrc_header._OPEN_STACKS


def test_a_replaced_stack_is_read_anew(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        write_stack(tmp_path / "s.mrcs", np.full((1, 4, 4), value, dtype=np.float32), 1.0)
        assert ImageStack.open(tmp_path / "s.mrcs").read(np.array([0])).mean() == value


@needs_shared
@pytest.mark.parametrize(("name", "box", "size"), [("emd_3488", 100, 1.05), ("emd_11007_bin2_120", 120, 1.668)])
def test_public_maps(name: str, box: int, size: float) -> None:
    read = read_map(SHARED / "maps" / f"{name}.mrc")
    assert (read.box, read.pixel_size) == (box, size)


@needs_shared
@pytest.mark.parametrize("name", ["empiar_10076_7.mrc", "relion31.mrcs", "sample.mrcs", "relion_proj_batch.mrcs"])
def test_experimental_stacks_equal_mrcfile(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = mrcfile.read(SHARED / "stacks" / name) if name != "relion31.mrcs" else None
    stack = ImageStack.open(SHARED / "stacks" / name)
    images = stack.read(np.arange(stack.n_images))
    assert np.isfinite(images).all()
    if expected is not None:
        np.testing.assert_array_equal(images, expected)
