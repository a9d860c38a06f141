"""The header of an MRC file: what it says about the values that follow, and whether they can be there.

The layout and the meaning of the fields are mrcfile's; files that stricter readers refuse (no machine stamp, no ``MAP``
mark) are read where the header makes sense. Nothing is allocated before the sizes were compared with the file.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io.magic import describe

HEADER_SIZE = HEADER_DTYPE.itemsize

_REAL_MODES = (0, 1, 2, 6, 12)
_OPEN_STACKS = 64
# An origin as far off as this, in Å, was never set.
_FARTHEST = 1e8
# A file changed so lately, in seconds, may still be being written.
_RECENT = 60.0
# Bytes 152 and on of files of IMOD: its mark, and flags of which the first says that bytes are signed.
_IMOD_MARK, _IMOD_FLAGS, _SIGNED = slice(40, 44), slice(44, 48), 1


class TruncatedStack(InputError):
    """A file shorter than its header says; the first ``present`` sections are there."""

    present = 0


@dataclass(frozen=True)
class Place:
    """Where a volume lies, in the two ways that a header can say it, both (x, y, z).

    ``origin`` is in Å; ``start`` is the number of the first voxel, as in entries of the EMDB. Zeros say nothing.
    """

    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    start: tuple[int, int, int] = (0, 0, 0)

    @property
    def stated(self) -> bool:
        """Whether the header says where the volume lies."""
        return any(self.origin) or any(self.start)

    def corner(self, pixel_size: float) -> tuple[float, float, float]:
        """Where the first voxel lies, in Å: the origin, or where there is none, as in older files, its number."""
        if any(self.origin):
            return self.origin
        x, y, z = (number * pixel_size for number in self.start)
        return x, y, z

    def resampled(self, pixel_size: float, other: float) -> Place:
        """The place of the same volume with voxels of ``other`` Å instead of ``pixel_size``: its corner stays."""
        numbers = [number * pixel_size / other for number in self.start]
        x, y, z = (round(number) for number in numbers)
        if all(abs(number - round(number)) < 1e-3 for number in numbers):
            return Place(self.origin, (x, y, z))
        return Place(self.corner(pixel_size))


@dataclass(frozen=True)
class Layout:
    """What a header says about the values that follow it.

    ``axes`` are the directions (1 x, 2 y, 3 z) of columns, rows and sections; ``surplus`` counts the bytes after the
    last value; ``stamp`` changes with the file.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    pixel_size: tuple[float, float, float]
    axes: tuple[int, int, int]
    place: Place
    surplus: int
    stamp: tuple[int, int]

    @property
    def n_bytes(self) -> int:
        """The size of a whole file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def values(self) -> NDArray[Any]:
        """The values on disk, memory-mapped."""
        return _memory_map(self.path, self.shape, self.dtype.str, self.offset, self.stamp)


@lru_cache(maxsize=_OPEN_STACKS)
def _memory_map(
    path: Path, shape: tuple[int, int, int], dtype: str, offset: int, stamp: tuple[int, int]
) -> NDArray[Any]:
    """A shared memory map, closed when it was not used for long; ``stamp`` renews it when the file is replaced."""
    return np.memmap(path, np.dtype(dtype), "r", offset, shape)


def read_layout(path: Path) -> Layout:
    """Read the header and compare what it promises with the size of the file, before any value is touched.

    Raises:
        InputError: missing, not an MRC file, or of a kind that holds no real values.
        TruncatedStack: the file is shorter than its header says.
    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(HEADER_SIZE)
        status = path.stat()
    except OSError as error:
        raise InputError(
            "mrc.missing",
            error.strerror or "cannot read this file",
            file=path,
            fix="check the path and the permissions of the file",
        ) from error
    return parse_layout(path, raw, status.st_size, status.st_mtime_ns)


def parse_layout(path: Path, raw: bytes, size: int | None, changed: int) -> Layout:
    """The layout that the header ``raw`` describes; ``size`` is that of the file, None where it is not known.

    Raises:
        InputError: as :func:`read_layout`.
        TruncatedStack: ``size`` is too small.
    """
    header = _header(path, raw)
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    axes = (int(header["mapc"]), int(header["mapr"]), int(header["maps"]))
    if sorted(axes) != [1, 2, 3]:
        axes = (1, 2, 3)
    layout = Layout(
        path=path,
        shape=shape,
        dtype=_dtype(path, header),
        offset=HEADER_SIZE + int(header["nsymbt"]),
        pixel_size=_pixel_size(header),
        axes=axes,
        place=_place(header, axes),
        surplus=0,
        stamp=(changed, 0 if size is None else size),
    )
    if size is None:
        return layout
    if size < layout.n_bytes:
        raise _truncated(layout, size, changed)
    return Layout(**{**vars(layout), "surplus": size - layout.n_bytes})


def _truncated(layout: Layout, size: int, changed: int) -> TruncatedStack:
    sections = layout.shape[0]
    present = max(0, size - layout.offset) // (layout.shape[1] * layout.shape[2] * layout.dtype.itemsize)
    recent = abs(time.time() - changed * 1e-9) < _RECENT
    cut = TruncatedStack(
        "mrc.truncated",
        f"this file is cut: {present} of {sections} sections are there",
        file=layout.path,
        expected=f"{layout.n_bytes} bytes",
        found=f"{size} bytes",
        fix="it changed a moment ago: wait until it is written" if recent else "copy or extract it again",
    )
    cut.present = present
    return cut


def _dtype(path: Path, header: NDArray[np.void]) -> np.dtype[Any]:
    mode = int(header["mode"])
    if mode not in _REAL_MODES:
        raise InputError(
            "mrc.mode",
            "this kind of MRC file holds no real values that can be read here",
            file=path,
            expected=f"mode {', '.join(map(str, _REAL_MODES))}",
            found=f"mode {mode}",
            fix="convert it to float32 (mode 2)",
        )
    extra = header["extra2"].tobytes()
    flags = np.frombuffer(extra[_IMOD_FLAGS], header.dtype["mode"])[0]
    if mode == 0 and extra[_IMOD_MARK] in (b"IMOD", b"DOMI") and not flags & _SIGNED:
        return np.dtype(np.uint8)
    return dtype_from_mode(mode).newbyteorder(header.dtype["mode"].byteorder)


def _pixel_size(header: NDArray[np.void]) -> tuple[float, float, float]:
    """Å along x, y and z; 0 where the header does not say."""
    samples = [int(header[name]) for name in ("mx", "my", "mz")]
    lengths = [float(header["cella"][name]) for name in ("x", "y", "z")]
    # Lengths are kept in single precision: six digits are theirs, the rest would be noise (1.0499999 for 1.05).
    x, y, z = (
        float(f"{length / n:.6g}") if n > 0 and 0 < length < math.inf else 0.0
        for length, n in zip(lengths, samples, strict=True)
    )
    return x, y, z


def _place(header: NDArray[np.void], axes: tuple[int, int, int]) -> Place:
    """Where the volume lies; an origin that is no number says nothing."""
    origin = [float(header["origin"][name]) for name in ("x", "y", "z")]
    x, y, z = origin if all(abs(value) < _FARTHEST for value in origin) else (0.0, 0.0, 0.0)
    # First voxels are numbered along columns, rows and sections, whatever direction these have.
    first = [int(header[name]) for name in ("nxstart", "nystart", "nzstart")]
    column, row, section = (first[axes.index(direction)] for direction in (1, 2, 3))
    return Place((x, y, z), (column, row, section))


def _header(path: Path, raw: bytes) -> NDArray[np.void]:
    """The header in the byte order in which it makes sense; the machine stamp says which to try first."""
    if len(raw) == HEADER_SIZE:
        header: NDArray[np.void] = np.frombuffer(raw, HEADER_DTYPE)[0]
        try:
            order = byte_order_from_machine_stamp(header["machst"])
        except ValueError:
            order = "<"
        for byte_order in (order, ">" if order == "<" else "<"):
            header = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(byte_order))[0]
            plausible = 0 <= int(header["mode"]) <= 101 and 0 <= int(header["nsymbt"]) < 2**30
            if plausible and all(0 < int(header[name]) < 2**24 for name in ("nx", "ny", "nz")):
                return header
    raise InputError(
        "mrc.not-mrc",
        "this is not an MRC file",
        file=path,
        expected="a header of 1024 bytes with plausible sizes",
        found=describe(raw),
        fix="give the file itself, converted to MRC (mode 2)",
    )
