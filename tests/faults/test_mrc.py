"""Rows M of the list: stacks, maps and masks."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dynaflex.io.mrc import ImageStack, read_map, write_map, write_stack
from faults.harness import Command, Fault, Toy, prove

BOX, PIXEL, IMAGE_BYTES = 32, 6.0, 32 * 32 * 4
GOOD = ("particles: 120 used", "images read: 120", "nothing wrong")


def values(path: Path) -> np.ndarray:
    stack = ImageStack.open(path)
    return stack.read(np.arange(stack.n_images))


def images(change: Callable[[np.ndarray], object]) -> Callable[[Toy], list[object]]:
    """Check a data set whose images were changed in place."""

    def command(toy: Toy) -> list[object]:
        data = values(toy.stack)
        change(data)
        with np.errstate(invalid="ignore"):
            write_stack(toy.stack, data, PIXEL)
        return toy.check()

    return command


def volume(which: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Toy], list[object]]:
    """Check a data set whose map or mask was replaced."""

    def command(toy: Toy) -> list[object]:
        path = getattr(toy, which)
        with np.errstate(invalid="ignore"):
            write_map(path, change(read_map(path).data.copy()), PIXEL)
        return toy.check()

    return command


def raw(which: str, change: Callable[[bytes], bytes]) -> Callable[[Toy], list[object]]:
    """Check a data set after the bytes of a file were changed."""

    def command(toy: Toy) -> list[object]:
        path = getattr(toy, which)
        path.write_bytes(change(path.read_bytes()))
        return toy.check()

    return command


def header(which: str, offset: int, *numbers: int) -> Callable[[Toy], list[object]]:
    """Check a data set with whole numbers of a header replaced, from the byte ``offset``."""

    def change(content: bytes) -> bytes:
        new = struct.pack(f"<{len(numbers)}i", *numbers)
        return content[:offset] + new + content[offset + len(new) :]

    return raw(which, change)


def set_all(index: object, value: float) -> Callable[[np.ndarray], None]:
    def change(data: np.ndarray) -> None:
        data[index] = value  # type: ignore[call-overload]

    return change


def cut_long_ago(toy: Toy) -> list[object]:
    os.truncate(toy.stack, 1024 + 87 * IMAGE_BYTES + 100)
    os.utime(toy.stack, (1e9, 1e9))
    return toy.check()


def being_written(toy: Toy) -> list[object]:
    os.truncate(toy.stack, 1024 + 87 * IMAGE_BYTES + 100)
    return toy.check()


def numbered(row: int, name: str) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        def change(table: object) -> object:
            table.loc[row, "rlnImageName"] = name  # type: ignore[attr-defined]
            return table

        toy.change(change)
        return toy.check()

    return command


def as_type(dtype: str, *, extended: int = 0) -> Callable[[Toy], list[object]]:
    """Check the same images in another type, as mrcfile writes it, behind an extended header."""

    def command(toy: Toy) -> list[object]:
        data = values(toy.stack)
        scale = 100.0 / np.abs(data).max() if np.dtype(dtype).kind in "iu" else 1.0
        shifted = data - data.min() if np.dtype(dtype).kind == "u" else data
        with mrcfile.new(toy.stack, overwrite=True) as file:
            file.set_data((shifted * scale).astype(np.dtype(dtype)))
            file.set_image_stack()
            if extended:
                file.set_extended_header(np.zeros(extended, dtype="V1"))
        return toy.check()

    return command


def axes_turned(toy: Toy) -> list[object]:
    write_map(toy.map, read_map(toy.map).data.transpose(1, 2, 0), PIXEL)
    return header("map", 64, 3, 1, 2)(toy)


def packed(pack: Callable[[bytes], bytes], ending: str, which: str) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        path = getattr(toy, which)
        there = path.with_name(path.name + ending)
        there.write_bytes(pack(path.read_bytes()))
        path.unlink()
        if which == "stack":
            toy.edit(lambda text: text.replace("particles.mrcs", f"particles.mrcs{ending}"))
            return toy.check()
        return [there if part == path else part for part in toy.check()]

    return command


def cut_when_packed(toy: Toy) -> list[object]:
    command = packed(gzip.compress, ".gz", "map")(toy)
    there = toy.map.with_name("consensus.mrc.gz")
    there.write_bytes(there.read_bytes()[:3000])
    return command


def odd_box(toy: Toy) -> list[object]:
    write_stack(toy.stack, values(toy.stack)[:, :31, :31], PIXEL)
    for path in (toy.map, toy.mask):
        write_map(path, read_map(path).data[:31, :31, :31], PIXEL)
    toy.change(lambda table: table.assign(rlnImageSize="31"), "optics")
    return toy.check()


def awkward_box(toy: Toy) -> list[object]:
    write_stack(toy.stack, values(toy.stack)[:, :26, :26], PIXEL)
    toy.change(lambda table: table.assign(rlnImageSize="26"), "optics")
    return ["check", toy.particles]


def swapped(toy: Toy) -> list[object]:
    return ["check", toy.particles, "--map", toy.mask, "--mask", toy.map]


def cuboid(toy: Toy) -> list[object]:
    write_map(toy.map, read_map(toy.map).data[:30], PIXEL)
    return toy.check()


def small_ball(data: np.ndarray) -> np.ndarray:
    z, y, x = np.indices(data.shape) - BOX // 2
    return np.clip(4.0 - np.sqrt(x**2 + y**2 + z**2), 0.0, 1.0).astype(np.float32)


def check_with_small_mask(toy: Toy) -> list[object]:
    write_map(toy.mask, small_ball(read_map(toy.mask).data), PIXEL)
    return ["check", toy.particles, "--mask", toy.mask]


def louder(data: np.ndarray) -> None:
    data[17] *= 50.0


FAULTS = [
    Fault("M-01", "a cut stack", cut_long_ago, 3,
          ("this file is cut: 87 of 120 sections", "needed first by row 87", "copy or extract it again")),
    Fault("M-02", "bytes after the last image", raw("stack", lambda content: content + b"\0" * 5000), 0,
          ("warning", "particles.mrcs", "5000 bytes more than its header says")),
    Fault("M-03", "an image past the end", numbered(5, "000121@particles.mrcs"), 3,
          ("column rlnImageName, row 5", "expected 1 to 120; found 121", "counted from 1")),
    Fault("M-03", "image number 0", numbered(5, "000000@particles.mrcs"), 3,
          ("column rlnImageName, row 5", "expected 1 to 120; found 0", "counted from 1")),
    Fault("M-04", "half precision", as_type("f2"), 0, GOOD),
    Fault("M-04", "infinite in half precision", images(set_all((4, 3, 3), np.inf)), 3,
          ("particles.mrcs", "image 5 has NaN or infinite values", "remove this particle")),
    Fault("M-05", "whole numbers of two bytes", as_type("i2"), 0, GOOD),
    Fault("M-05", "positive whole numbers of two bytes", as_type("u2"), 0, GOOD),
    Fault("M-05", "bytes with a sign", as_type("i1"), 0, GOOD),
    Fault("M-05", "complex values", header("stack", 12, 4), 3,
          ("particles.mrcs", "expected mode 0, 1, 2, 6, 12; found mode 4", "convert it to float32")),
    Fault("M-06", "the other byte order", as_type(">f4"), 0, GOOD),
    Fault("M-07", "an extended header", as_type("f4", extended=1234), 0, GOOD),
    Fault("M-08", "axes in another order", axes_turned, 0, GOOD),
    Fault("M-09", "a map that is no cube", cuboid, 3,
          ("consensus.mrc", "found 32 x 32 x 30", "as the refinement wrote it")),
    Fault("M-10", "an odd box", odd_box, 3,
          ("particles.mrcs", "expected 32 pixels; found 31 pixels", "--o even; the map alike [particles.odd-box]")),
    Fault("M-11", "an awkward box", awkward_box, 0,
          ("warning", "a box of 26 pixels makes Fourier transforms slow", "24 has no prime factor above 7")),
    Fault("M-12", "an image with NaN", images(set_all((4, 3, 3), np.nan)), 3,
          ("particles.mrcs", "image 5 has NaN or infinite values", "remove this particle")),
    Fault("M-13", "a blank image", images(set_all(4, 2.0)), 3,
          ("particles.mrcs", "image 5 has the same value everywhere", "remove this particle")),
    Fault("M-14", "images that are not normalised", images(lambda data: np.multiply(data, 500.0, out=data)), 0,
          ("standard deviation 6", "images read: 120", "nothing wrong")),
    Fault("M-15", "an image fifty times as strong", images(louder), 0,
          ("warning", "1 images deviate more than 10 times", "row 17: 5")),
    Fault("M-16", "an empty map", volume("map", np.zeros_like), 3,
          ("consensus.mrc", "expected density; found 0", "map of a 3D refinement")),
    Fault("M-16", "a map with NaN", volume("map", lambda data: np.where(data == data.max(), np.nan, data)), 3,
          ("consensus.mrc", "NaN or infinite values", "the first at x=")),
    Fault("M-17", "a map as the mask", lambda toy: ["check", toy.particles, "--map", toy.map, "--mask", toy.map], 3,
          ("consensus.mrc", "expected values from 0 to 1", "relion_mask_create")),
    Fault("M-17", "map and mask swapped", swapped, 3, ("mask.mrc: this is a mask", "expected density", "with --mask")),
    Fault("M-17", "a mask with a hard edge", volume("mask", lambda data: np.round(data)), 0,
          ("warning", "mask.mrc", "hard edge, which inflates")),
    Fault("M-18", "a mask that covers all", volume("mask", lambda data: 0.9 + 0.1 * data), 0,
          ("warning", "covers 100 % of the box", "touches the edge")),
    Fault("M-18", "a mask that covers next to nothing", check_with_small_mask, 0,
          ("warning", "mask.mrc", "covers 0.546 % of the box")),
    Fault("M-19", "an impossible size", header("stack", 0, 2**31 - 1, 2**31 - 1, 2**31 - 1), 3,
          ("particles.mrcs", "not an MRC file", "plausible sizes")),
    Fault("M-19", "a size far beyond the file", header("map", 0, 60000, 60000, 60000), 3,
          ("consensus.mrc", "expected 864000000001024 bytes", "wait until it is written")),
    Fault("M-20", "a packed stack", packed(gzip.compress, ".gz", "stack"), 3,
          ("particles.mrcs.gz", "found a gzip file", "gunzip")),
    Fault("M-20", "an HDF5 file", raw("map", lambda content: b"\x89HDF\r\n\x1a\n" + content[8:] * 0 + bytes(2000)), 3,
          ("consensus.mrc", "found an HDF5 file", "e2proc3d.py")),
    Fault("M-20", "a packed map", packed(gzip.compress, ".gz", "map"), 0, GOOD),
    Fault("M-20", "a map packed otherwise", packed(bz2.compress, ".bz2", "map"), 0, GOOD),
    Fault("M-20", "a packed map that is cut", cut_when_packed, 3,
          ("consensus.mrc.gz", "cannot be unpacked", "copy it again [mrc.packed]")),
    Fault("M-21", "a stack that calls itself a volume", header("stack", 88, 1), 0, GOOD),
    Fault("M-21", "a map that calls itself a stack", header("map", 88, 0), 0, GOOD),
    Fault("M-22", "a file that is being written", being_written, 3,
          ("particles.mrcs", "87 of 120 sections", "wait until it is written")),
    Fault("M-23", "a pointer of Git LFS",
          raw("stack", lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"), 3,
          ("particles.mrcs", "a Git LFS pointer, not the data", "git lfs pull")),
    Fault("M-23", "a web page", raw("map", lambda _: b"<!DOCTYPE html><html><body>Sign in</body></html>" * 50), 3,
          ("consensus.mrc", "a web page", "give the file itself")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_M_05_bytes_have_a_sign_unless_imod_says_otherwise(tmp_path: Path) -> None:
    written = np.arange(-128, 128, dtype=np.int8).reshape(1, 16, 16)
    with mrcfile.new(tmp_path / "s.mrcs") as file:
        file.set_data(written)
    path = tmp_path / "s.mrcs"
    np.testing.assert_array_equal(values(path), written)
    content = bytearray(path.read_bytes())
    for flags, expected in ((0, written.view(np.uint8)), (1, written)):
        content[152:160] = struct.pack("<ii", 1146047817, flags)
        path.write_bytes(content)
        np.testing.assert_array_equal(values(path), expected)


def test_M_08_a_map_stays_where_it_was(tmp_path: Path) -> None:
    """The first voxel's number, which older files have in place of an origin, counts columns, rows and sections."""
    path = tmp_path / "m.mrc"
    write_map(path, np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32), 2.0)
    content = bytearray(path.read_bytes())
    content[16:28] = struct.pack("<3i", -4, 3, 5)
    path.write_bytes(content)
    assert read_map(path).origin == (-8.0, 6.0, 10.0)
    content[64:76] = struct.pack("<3i", 3, 1, 2)
    path.write_bytes(content)
    assert read_map(path).origin == (6.0, 10.0, -8.0)


def test_M_19_a_small_file_that_unpacks_to_an_endless_one_is_not_unpacked(tmp_path: Path) -> None:
    """Only as much as the header promises is ever unpacked, and a promise is not memory."""
    volume = np.zeros((16, 16, 16), dtype=np.float32)
    volume[8, 8, 8] = 1.0
    write_map(tmp_path / "m.mrc", volume, 1.0)
    content = (tmp_path / "m.mrc").read_bytes()
    (tmp_path / "m.mrc.gz").write_bytes(gzip.compress(content + bytes(10**8)))
    np.testing.assert_array_equal(read_map(tmp_path / "m.mrc.gz").data, volume)
