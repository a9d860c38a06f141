"""MRC maps and image stacks: volumes ``[z, y, x]``, images ``[y, x]``, pixel sizes in Å."""

from __future__ import annotations

import bz2
import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import machine_stamp_from_byte_order
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io.durable import write_stream
from dynaflex.io.mrc_header import HEADER_SIZE, Layout, Place, TruncatedStack, parse_layout, read_layout
from dynaflex.shapes import Array, FloatArray, IntArray

__all__ = ["ImageStack", "MrcMap", "Place", "TruncatedStack", "read_map", "read_region", "write_map", "write_stack"]

_LABEL = b"Written by dynaflex"
_UNPACK: dict[bytes, type[gzip.GzipFile] | type[bz2.BZ2File]] = {b"\x1f\x8b": gzip.GzipFile, b"BZ": bz2.BZ2File}
_PIECE = 2**24
_NOWHERE = Place()


@dataclass(frozen=True)
class MrcMap:
    """A map, cubic unless it was read as a region.

    ``data`` is ``(d d d)`` float32 ``[z, y, x]``. ``pixel_size`` is None where the header does not give one. ``place``
    is the header's, kept so that a map written from this one opens in the same place.
    """

    data: FloatArray
    pixel_size: float | None
    place: Place = _NOWHERE

    @property
    def box(self) -> int:
        """Voxels a side."""
        return int(self.data.shape[0])

    @property
    def origin(self) -> tuple[float, float, float]:
        """Where the first voxel lies, (x, y, z) in Å."""
        return self.place.corner(self.pixel_size or 0.0)


@dataclass(frozen=True)
class ImageStack:
    """A stack of square images on disk, read on demand.

    ``pixel_size`` is the header's, None where it gives none. Only a few dozen stacks are kept open at a time.
    """

    path: Path
    n_images: int
    box: int
    pixel_size: float | None
    _layout: Layout

    @classmethod
    def open(cls, path: Path | str) -> ImageStack:
        """Read the header of a ``.mrcs`` file and check it against the size of the file.

        Raises:
            InputError: missing, not an MRC file, of a kind that holds no real images, not square, or truncated.
        """
        layout = read_layout(Path(path))
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

    @property
    def surplus(self) -> int:
        """Bytes after the last image."""
        return self._layout.surplus

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
                fix="copy the stack again, or correct the table that lists the image",
            )
        images: FloatArray = self._layout.values()[indices].astype(np.float32)
        return images


def read_map(path: Path | str) -> MrcMap:
    """Read a cubic map, packed with gzip or bzip2 or not, with its axes brought into the order ``[z, y, x]``.

    Raises:
        InputError: missing, not an MRC file, truncated, not cubic, voxels not cubic, or NaN or infinite values.
    """
    volume = read_region(path)
    if len(set(volume.data.shape)) > 1:
        raise InputError(
            "mrc.not-cubic",
            "this map is not cubic",
            file=path,
            expected="as many voxels along x, y and z",
            found=" x ".join(str(n) for n in volume.data.shape[::-1]),
            fix="give the map as the refinement wrote it: what was cut off cannot be put back",
        )
    return volume


def read_region(path: Path | str) -> MrcMap:
    """Read a map of any shape, such as the part of one that was cropped; all else is as in :func:`read_map`.

    Raises:
        InputError: missing, not an MRC file, truncated, voxels not cubic, or NaN or infinite values.
    """
    layout, values = _values(Path(path))
    # The header names the direction (1 x, 2 y, 3 z) of columns, rows and sections; values lie [section, row, column].
    directions = layout.axes[::-1]
    data = values.transpose([directions.index(direction) for direction in (3, 2, 1)]).astype(np.float32)
    if not np.isfinite(data).all():
        z, y, x = (int(i) for i in np.argwhere(~np.isfinite(data))[0])
        raise InputError(
            "mrc.not-finite",
            "this map has NaN or infinite values",
            file=path,
            found=f"{int((~np.isfinite(data)).sum())} of them, the first at x={x} y={y} z={z}",
            fix="make the map again, or set these voxels to 0",
        )
    return MrcMap(np.ascontiguousarray(data), _cubic_pixel_size(layout), layout.place)


def _values(path: Path) -> tuple[Layout, NDArray[Any]]:
    """The layout of a map and its values as they lie in the file."""
    unpack = _UNPACK.get(_first_bytes(path, 2))
    if unpack is None:
        layout = read_layout(path)
        return layout, layout.values()
    try:
        with unpack(path, "rb") as stream:
            header = stream.read(HEADER_SIZE)
            layout = parse_layout(path, header, None, 0)
            # A few bytes can unpack to endless ones: memory grows only as values are really there, up to the promise.
            content = bytearray()
            promised = layout.n_bytes - HEADER_SIZE
            while len(content) < promised and (piece := stream.read(min(_PIECE, promised - len(content)))):
                content += piece
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            "mrc.packed", "this packed file cannot be unpacked", file=path, found=error, fix="copy it again"
        ) from error
    parse_layout(path, header, HEADER_SIZE + len(content), 0)
    values = np.frombuffer(content, layout.dtype, math.prod(layout.shape), layout.offset - HEADER_SIZE)
    return layout, values.reshape(layout.shape)


def _first_bytes(path: Path, n: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(n)
    except OSError:
        return b""


def write_map(path: Path | str, volume: FloatArray, pixel_size: float, place: Place = _NOWHERE) -> None:
    """Write a volume ``[z, y, x]`` as float32 (mode 2), lying at ``place``.

    Equal volumes give equal bytes: no date is written.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    _write(path, volume, pixel_size, place, is_stack=False)


def write_stack(path: Path | str, images: FloatArray, pixel_size: float) -> None:
    """Write images ``(n h h)`` as a float32 stack (mode 2). Equal images give equal bytes: no date is written.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    _write(path, images, pixel_size, _NOWHERE, is_stack=True)


def _write(path: Path | str, values: FloatArray, pixel_size: float, place: Place, *, is_stack: bool) -> None:
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
    header["origin"] = place.origin
    header["nxstart"], header["nystart"], header["nzstart"] = place.start
    header["dmin"], header["dmax"] = data.min(), data.max()
    header["dmean"], header["rms"] = data.mean(dtype=np.float64), data.std(dtype=np.float64)
    header["nlabl"], header["label"][0] = 1, _LABEL

    def write(stream: BinaryIO) -> None:
        stream.write(header.tobytes())
        stream.write(data.data)

    write_stream(path, write)


def _cubic_pixel_size(layout: Layout) -> float | None:
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
