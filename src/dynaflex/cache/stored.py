"""Images that were made ready for a model once, and are read from a local disk whenever they are asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from dynaflex.errors import ResourceError
from dynaflex.shapes import IntArray, Tensor

PRECISION = torch.float16
"""What an image has once it is normalised, wherever it is kept: rounding adds 4e-8 of the noise's power."""
_ON_DISK = np.dtype("<f2")
_LARGEST = float(torch.finfo(PRECISION).max)
_FOLLOWS = 2**23
"""Bytes that are fetched beyond what is read, where that lies in one piece."""
_GAP = 8
"""Images that are fetched and not asked for, rather than to fetch in two pieces."""


def rounded(images: Tensor) -> Tensor:
    """Images in the precision in which they are kept. A pixel beyond all reason stays finite."""
    return images.clamp(-_LARGEST, _LARGEST).to(PRECISION)


@dataclass(frozen=True, eq=False)
class StoredImages:
    """The images of p particles in the file at ``path``, one after the other, each of ``box`` pixels a side.

    ``rows`` ``(p)`` of the particle table, rising, say whose they are, and ``place`` ``(p)`` where each lies. They are
    read, not mapped into memory: what is mapped counts as the process's own, and a disk that fails ends the process.
    """

    path: Path
    box: int
    rows: IntArray
    place: IntArray

    @property
    def size(self) -> int:
        """Bytes of an image."""
        return _ON_DISK.itemsize * self.box**2

    def read(self, rows: IntArray) -> Tensor:
        """The images of the particles in some ``rows`` ``(b)`` of the table, ``(b h h)`` in half precision.

        Raises:
            ResourceError: they are not there any more.
        """
        place = self._places(rows)
        order = np.argsort(place, kind="stable")
        images = np.empty((len(rows), self.box, self.box), dtype=_ON_DISK)
        pieces = _pieces(place[order], 1)
        try:
            with self.path.open("rb", buffering=0) as stream:
                for piece in pieces:
                    stream.seek(int(place[order[piece.start]]) * self.size)
                    _fill(stream, images[piece].data.cast("B"))
                if len(pieces) == 1:
                    _fetch(stream.fileno(), (int(place.max()) + 1) * self.size, _FOLLOWS)
        except OSError as error:
            raise ResourceError(
                "cache.gone", "the cache of images cannot be read any more", file=self.path,
                found=error.strerror or error,
                fix="go on with dynaflex resume RUN, which makes it again; or with --cache off",
            ) from error  # fmt: skip
        found = torch.from_numpy(images)
        return found if bool((np.diff(order) == 1).all()) else found[torch.from_numpy(np.argsort(order))]

    def expect(self, rows: IntArray) -> None:
        """Have the system fetch the images of these ``rows`` ``(b)``, which are read soon; nobody waits for it."""
        place = np.sort(self._places(rows))
        try:
            with self.path.open("rb", buffering=0) as stream:
                for piece in _pieces(place, _GAP):
                    first, last = int(place[piece.start]), int(place[piece.stop - 1])
                    _fetch(stream.fileno(), first * self.size, (last + 1 - first) * self.size)
        except OSError:
            return  # Who reads them will say so.

    def _places(self, rows: IntArray) -> IntArray:
        found: IntArray = self.place[np.searchsorted(self.rows, rows)]
        return found


def _pieces(place: IntArray, gap: int) -> list[slice]:
    """What of the rising ``place`` ``(n)`` lies together, but for gaps."""
    step = np.diff(place)
    ends = [0, *(np.flatnonzero((step < 1) | (step > gap)) + 1).tolist(), len(place)]
    return [slice(start, stop) for start, stop in pairwise(ends) if stop > start]


def _fill(stream: FileIO, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            raise OSError("it is shorter than it was")
        done += count


def _fetch(descriptor: int, start: int, length: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_WILLNEED)
