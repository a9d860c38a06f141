"""MRC maps and image stacks: volumes ``[z, y, x]``, images ``[y, x]``, pixel sizes in Å.

The header layout and the meaning of its fields are mrcfile's; files that stricter readers refuse (no machine stamp, no
``MAP`` mark) are read where the header makes sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode, machine_stamp_from_byte_order
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io.durable import write_stream
from dynaflex.shapes import Array, FloatArray, IntArray

_LABEL = b"Written by dynaflex"
_REAL_MODES = (0, 1, 2, 6, 12)
_OPEN_STACKS = 64


@dataclass(frozen=True)
class MrcMap:
    """A cubic map.

    ``data`` is ``(d d d)`` float32 ``[z, y, x]``. ``pixel_size`` is None where the header does not give one. ``origin``
    (x, y, z) in Å is the header's, kept so that a map written from this one opens in the same place.
    """

    data: FloatArray
    pixel_size: float | None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def box(self) -> int:
        """Voxels a side."""
        return int(self.data.shape[0])


@dataclass(frozen=True)
class _Layout:
    """What a header says about the values that follow it."""

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    pixel_size: tuple[float, float, float]
    axes: tuple[int, int, int]
    origin: tuple[float, float, float]
    stamp: tuple[int, int]

    def values(self) -> NDArray[Any]:
        """The values on disk, memory-mapped."""
        return _memory_map(self.path, self.shape, self.dtype.str, self.offset, self.stamp)


@lru_cache(maxsize=_OPEN_STACKS)
def _memory_map(
    path: Path, shape: tuple[int, int, int], dtype: str, offset: int, stamp: tuple[int, int]
) -> NDArray[Any]:
    """A shared memory map, closed when it was not used for long; ``stamp`` renews it when the file is replaced."""
    return np.memmap(path, np.dtype(dtype), "r", offset, shape)


@dataclass(frozen=True)
class ImageStack:
    """A stack of square images on disk, read on demand.

    ``pixel_size`` is the header's, None where it gives none. Only a few dozen stacks are kept open at a time.
    """

    path: Path
    n_images: int
    box: int
    pixel_size: float | None
    _layout: _Layout

    @classmethod
    def open(cls, path: Path | str) -> ImageStack:
        """Read the header of a ``.mrcs`` file and check it against the size of the file.

        Raises:
            InputError: missing, not an MRC file, of a kind that holds no real images, not square, or truncated.
        """
        layout = _read_layout(Path(path))
        n_images, height, width = layout.shape
        if height != width:
            raise InputError(
                "mrc.not-square",
                "the images are not square",
                file=path,
                found=f"{width} x {height} pixels",
                fix="extract the particles again in square boxes",
            )
        return cls(layout.path, n_images, width, layout.pixel_size[0] or None, layout)

    def read(self, indices: IntArray) -> FloatArray:
        """The images at ``indices`` (from 0), ``(n h h)`` float32, with the values on disk.

        Raises:
            InputError: an index outside the stack.
        """
        indices = np.asarray(indices, dtype=np.int64)
        outside = indices[(indices < 0) | (indices >= self.n_images)]
        if outside.size:
            raise InputError(
                "mrc.image-index",
                "no such image in this stack",
                file=self.path,
                expected=f"1 to {self.n_images}",
                found=int(outside[0]) + 1,
            )
        images: FloatArray = self._layout.values()[indices].astype(np.float32)
        return images


def read_map(path: Path | str) -> MrcMap:
    """Read a cubic map, with its axes brought into the order ``[z, y, x]``.

    Raises:
        InputError: missing, not an MRC file, truncated, not cubic, voxels not cubic, or NaN or infinite values.
    """
    layout = _read_layout(Path(path))
    # The header names the direction (1 x, 2 y, 3 z) of columns, rows and sections; values lie [section, row, column].
    directions = layout.axes[::-1]
    data = layout.values().transpose([directions.index(direction) for direction in (3, 2, 1)]).astype(np.float32)
    if len(set(data.shape)) > 1:
        size = " x ".join(str(n) for n in data.shape[::-1])
        raise InputError(
            "mrc.not-cubic",
            "this map is not cubic",
            file=path,
            expected="as many voxels along x, y and z",
            found=size,
            fix=f"pad or crop it: relion_image_handler --i {path} --new_box {max(data.shape)} --o cubic.mrc",
        )
    if not np.isfinite(data).all():
        z, y, x = (int(i) for i in np.argwhere(~np.isfinite(data))[0])
        raise InputError(
            "mrc.not-finite",
            "this map has NaN or infinite values",
            file=path,
            found=f"{int((~np.isfinite(data)).sum())} of them, the first at x={x} y={y} z={z}",
        )
    return MrcMap(np.ascontiguousarray(data), _cubic_pixel_size(layout), layout.origin)


def write_map(
    path: Path | str, volume: FloatArray, pixel_size: float, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> None:
    """Write a volume ``[z, y, x]`` as float32 (mode 2). Equal volumes give equal bytes: no date is written.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    _write(path, volume, pixel_size, origin, is_stack=False)


def write_stack(path: Path | str, images: FloatArray, pixel_size: float) -> None:
    """Write images ``(n h h)`` as a float32 stack (mode 2). Equal images give equal bytes: no date is written.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    _write(path, images, pixel_size, (0.0, 0.0, 0.0), is_stack=True)


def _write(
    path: Path | str, values: FloatArray, pixel_size: float, origin: tuple[float, float, float], *, is_stack: bool
) -> None:
    data = np.ascontiguousarray(values, dtype="<f4")
    depth, height, width = data.shape
    header = np.zeros((), dtype=HEADER_DTYPE.newbyteorder("<"))
    header["nx"], header["ny"], header["nz"] = width, height, depth
    # In a stack the sections are no direction of space: MRC2014 marks it with space group 0 and one section a cell.
    sections = 1 if is_stack else depth
    header["ispg"] = 0 if is_stack else 1
    header["mx"], header["my"], header["mz"] = width, height, sections
    header["cella"] = (width * pixel_size, height * pixel_size, sections * pixel_size)
    header["cellb"] = (90.0, 90.0, 90.0)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["mode"], header["nversion"], header["map"] = 2, 20141, b"MAP "
    header["machst"] = machine_stamp_from_byte_order("<")
    header["origin"] = origin
    header["dmin"], header["dmax"] = data.min(), data.max()
    header["dmean"], header["rms"] = data.mean(dtype=np.float64), data.std(dtype=np.float64)
    header["nlabl"], header["label"][0] = 1, _LABEL

    def write(stream: BinaryIO) -> None:
        stream.write(header.tobytes())
        stream.write(data.data)

    write_stream(path, write)


def _read_layout(path: Path) -> _Layout:
    """Read the header and compare what it promises with the size of the file, before any value is touched."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read(HEADER_DTYPE.itemsize)
        status = path.stat()
    except OSError as error:
        raise InputError("mrc.missing", error.strerror or "cannot read this file", file=path) from error
    header = _header(path, raw)
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
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    dtype = dtype_from_mode(mode).newbyteorder(header.dtype["mode"].byteorder)
    offset = HEADER_DTYPE.itemsize + int(header["nsymbt"])
    expected = offset + shape[0] * shape[1] * shape[2] * dtype.itemsize
    if status.st_size < expected:
        present = max(0, status.st_size - offset) // (shape[1] * shape[2] * dtype.itemsize)
        raise InputError(
            "mrc.truncated",
            f"this file is cut: {present} of {shape[0]} sections are there",
            file=path,
            expected=f"{expected} bytes",
            found=f"{status.st_size} bytes",
            fix="copy or extract it again",
        )
    samples = [int(header[name]) for name in ("mx", "my", "mz")]
    lengths = [float(header["cella"][name]) for name in ("x", "y", "z")]
    # Lengths are kept in single precision: six digits are theirs, the rest would be noise (1.0499999 for 1.05).
    x, y, z = (
        float(f"{length / n:.6g}") if n > 0 and length > 0 else 0.0 for length, n in zip(lengths, samples, strict=True)
    )
    axes = (int(header["mapc"]), int(header["mapr"]), int(header["maps"]))
    return _Layout(
        path=path,
        shape=shape,
        dtype=dtype,
        offset=offset,
        pixel_size=(x, y, z),
        axes=axes if sorted(axes) == [1, 2, 3] else (1, 2, 3),
        origin=(float(header["origin"]["x"]), float(header["origin"]["y"]), float(header["origin"]["z"])),
        stamp=(status.st_mtime_ns, status.st_size),
    )


def _header(path: Path, raw: bytes) -> NDArray[np.void]:
    """The header in the byte order in which it makes sense; the machine stamp says which to try first."""
    if len(raw) == HEADER_DTYPE.itemsize:
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
        found="an LFS pointer, not the data" if raw.startswith(b"version https://git-lfs") else f"{raw[:16]!r}",
        fix="uncompress or convert it to MRC",
    )


def _cubic_pixel_size(layout: _Layout) -> float | None:
    sizes: Array = np.array(layout.pixel_size)
    if not sizes.any():
        return None
    if np.ptp(sizes) > 0.01 * sizes.max():
        raise InputError(
            "mrc.voxel-not-cubic",
            "the voxels of this map are not cubic",
            file=layout.path,
            field="cell size",
            expected="one pixel size",
            found=" x ".join(f"{size:.4f}" for size in sizes) + " Å",
            fix="resample the map to cubic voxels, or correct its header",
        )
    return float(sizes[0])
