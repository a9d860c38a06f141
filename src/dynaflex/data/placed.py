"""Volumes that belong to a map: masks, segments, half-maps. They are put where their headers say that they lie.

A volume of the map's box that says nothing lies on it voxel by voxel, which is all that RELION knows. ChimeraX says
where it cropped one, in the origin or the number of the first voxel; entries of the EMDB number voxels from the centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.mrc import MrcMap, Place, read_region
from dynaflex.shapes import Array, FloatArray, IntArray

# A pixel size is wrong, not rounded, when it differs by more than this fraction. Scores cannot tell: a map that is
# 3 % too large fits the images nearly as well.
_PIXEL_SIZE_TOLERANCE = 5e-4
_DEFAULT = ", which other programs write when they do not know it"
# Headers round places; half a voxel is what really occurs between two grids.
_WHOLE = 0.1
# What of a mask or of segments may fall outside the map's box.
_LOST = 0.01
# Numbers beyond this are none of segments.
_MOST_SEGMENTS = 2**20
_VOXELWISE = "they are laid centre on centre, as RELION does"
_SAY_WHERE = "say so in the header, in ChimeraX with this as #1: volume #1 origin"


@dataclass(frozen=True)
class Kind:
    """What a volume is: the value of ``nothing``, which is all around it where it was cropped, and how it is
    ``resampled``, a sentence with {path}, {old} and {new} pixel size in Å, and {box}."""

    nothing: float
    resampled: str


_RELION = "relion_image_handler --i {path} --angpix {old:.5g} --rescale_angpix {new:.5g} --new_box {box} --o out.mrc"
_CHIMERAX = "in ChimeraX, with the map as #1 and this as #2: volume resample #2 onGrid #1, and save that"
MAP = Kind(0.0, _RELION)
MASK = Kind(0.0, _CHIMERAX)
SEGMENTS = Kind(-1.0, "segment the map itself: numbers cannot be interpolated")


@dataclass(frozen=True)
class Frame:
    """The voxels that a volume is brought to: those of a map on ``grid`` that lies at ``place``."""

    grid: Grid
    place: Place

    @classmethod
    def of(cls, consensus: MrcMap, pixel_size: float | None = None) -> Frame:
        """That of a map, with the ``pixel_size`` of the particles where its header gives none."""
        size = consensus.pixel_size or pixel_size
        assert size is not None, "nobody knows the pixel size"
        return cls(Grid(consensus.box, size), consensus.place)


def read_mask(path: Path | str, frame: Frame, warnings: list[str]) -> FloatArray:
    """The mask at ``path`` in the voxels of ``frame``, ``(d d d)``; ``warnings`` gains what was done to it.

    Raises:
        InputError: it cannot be read, has another pixel size, or its header does not say where in the box it lies.
    """
    return put(read_region(path), path, frame, MASK, warnings)


def read_segments(path: Path | str, frame: Frame, warnings: list[str]) -> IntArray:
    """A segmentation in the voxels of ``frame``, ``(d d d)``, -1 in solvent, which is negative or, where nothing is, 0.

    Raises:
        InputError: as :func:`read_mask`, and where a value is no whole number.
    """
    volume = read_region(path)
    labels = np.rint(volume.data)
    off = (np.abs(volume.data - labels) > 1e-3) | (np.abs(labels) > _MOST_SEGMENTS)
    if off.any():
        raise InputError(
            "mesh.labels", "a segmentation holds whole numbers, one for each segment",
            file=path, expected="-1 in solvent and 0, 1, 2 … in the segments", found=f"{volume.data[off][0]:.4g}",
            fix="do not filter, mask or rescale it",
        )  # fmt: skip
    if labels.min() >= 0:
        warnings.append("no voxel of the segmentation is negative, so 0 is taken for solvent")
        labels[labels == 0] = -1
    labels = labels.clip(min=-1.0)
    return put(replace(volume, data=labels), path, frame, SEGMENTS, warnings).astype(np.int64)


def matched(volume: MrcMap, path: Path | str, frame: Frame, warnings: list[str]) -> FloatArray:
    """The map that was read from ``path``, ``(d d d)``, which must lie on that of ``frame`` voxel by voxel.

    Raises:
        InputError: it has another pixel size or box, or lies elsewhere.
    """
    require_grid(volume, path, frame.grid, "the other", warnings)
    offset = _offset(volume, path, frame, warnings, MAP)
    if offset.any():
        raise _misplaced(path, frame, f"its first voxel at {_words(offset)} of the other's")
    return volume.data


def put(volume: MrcMap, path: Path | str, frame: Frame, kind: Kind, warnings: list[str]) -> FloatArray:
    """The ``volume`` that was read from ``path`` in the voxels of ``frame``, ``(d d d)``.

    Raises:
        InputError: as :func:`read_mask`.
    """
    _require_pixel_size(volume, path, frame.grid, "the map", warnings, kind)
    offset = _offset(volume, path, frame, warnings, kind)
    box = (frame.grid.box,) * 3
    if volume.data.shape == box and not offset.any():
        return volume.data
    first = offset[::-1]
    target = tuple(slice(max(o, 0), max(o + n, 0)) for o, n in zip(first, volume.data.shape, strict=True))
    source = tuple(slice(max(-o, 0), max(d - o, 0)) for o, d in zip(first, box, strict=True))
    whole, inside = (int((values > kind.nothing + 0.5).sum()) for values in (volume.data, volume.data[source]))
    if inside < (1.0 - _LOST) * whole or not volume.data[source].size:
        lost = 100.0 * (1.0 - inside / max(whole, 1))
        raise _misplaced(path, frame, f"its first voxel at {_words(offset)} of the map's, {lost:.0f} % of it outside")
    placed = np.full(box, kind.nothing, dtype=volume.data.dtype)
    placed[target] = volume.data[source]
    warnings.append(
        f"{path} ({_size(volume)} voxels) was put where its header says: its first voxel at {_words(offset)} of the map"
    )
    return placed


def require_grid(
    volume: MrcMap, path: Path | str, grid: Grid, what: str, warnings: list[str], kind: Kind = MAP
) -> None:
    """A volume must have the box and the pixel size of ``what``; a header that gives no pixel size is believed.

    Raises:
        InputError: it has others.
    """
    _require_pixel_size(volume, path, grid, what, warnings, kind)
    if volume.data.shape != (grid.box,) * 3:
        raise _other_box(volume, path, grid, what, kind)


def _require_pixel_size(
    volume: MrcMap, path: Path | str, grid: Grid, what: str, warnings: list[str], kind: Kind
) -> None:
    if volume.pixel_size is None:
        warnings.append(f"{path} has no pixel size in its header; that of {what}, {grid.pixel_size:.5g} Å, is assumed")
    elif not same_pixel_size(volume.pixel_size, grid.pixel_size):
        resampled = kind.resampled.format(path=path, old=volume.pixel_size, new=grid.pixel_size, box=grid.box)
        raise InputError(
            "volume.pixel-size", f"this volume and {what} have different pixel sizes",
            file=path, expected=f"{grid.pixel_size:.6g} Å",
            found=f"{volume.pixel_size:.6g} Å{_DEFAULT if volume.pixel_size == 1.0 else ''}",
            fix=f"if only its header is wrong: relion_image_handler --i {path} --force_header_angpix "
            f"{grid.pixel_size:.5g} --o out.mrc; if its voxels are others: {resampled}",
        )  # fmt: skip


def same_pixel_size(a: float, b: float) -> bool:
    """Whether two pixel sizes in Å are the same but for rounding."""
    return abs(a - b) <= _PIXEL_SIZE_TOLERANCE * b


def _offset(volume: MrcMap, path: Path | str, frame: Frame, warnings: list[str], kind: Kind) -> IntArray:
    """Where the first voxel of the volume lies in the box of the map, (x, y, z) in whole voxels."""
    box, size = frame.grid.box, np.array(volume.data.shape[::-1])
    corner = _voxels(volume.place, volume.pixel_size or frame.grid.pixel_size)
    off = corner - _voxels(frame.place, frame.grid.pixel_size)
    if not volume.place.stated:
        if (size != box).any():
            raise _other_box(volume, path, frame.grid, "the map", kind)
        if frame.place.stated:
            warnings.append(f"the header of {path} does not say where it lies, that of the map does; {_VOXELWISE}")
        return np.zeros(3, dtype=np.int64)
    if not frame.place.stated and bool((np.abs(corner + size / 2) <= 0.5 + _WHOLE).all()):
        warnings.append(f"{path} numbers its voxels from the centre, the map from the first; {_VOXELWISE}")
        return box // 2 - size // 2
    whole = np.rint(off).astype(np.int64)
    if np.abs(off - whole).max() > _WHOLE:
        raise _misplaced(path, frame, f"its voxels between those of the map, {_words(off)} of them off")
    return whole


def _voxels(place: Place, pixel_size: float) -> Array:
    """Where the first voxel lies, (x, y, z) in voxels."""
    corner: Array = np.array(place.corner(pixel_size)) / pixel_size
    return corner


def _other_box(volume: MrcMap, path: Path | str, grid: Grid, what: str, kind: Kind) -> InputError:
    fix = f"if both have one centre: relion_image_handler --i {path} --new_box {grid.box} --o out.mrc"
    placed = f"{_SAY_WHERE} X,Y,Z, the place in Å of its first voxel, and save #1"
    if kind is MASK:
        fix = f"{fix}; if it was cropped elsewhere: {placed}"
    elif kind is SEGMENTS:
        fix = f"give segments of the whole box, or {placed}; RELION would fill what is missing with segment 0"
    return InputError(
        "volume.box", f"this volume and {what} have different boxes",
        file=path, expected=f"{grid.box} voxels", found=f"{_size(volume)} voxels", fix=fix,
    )  # fmt: skip


def _misplaced(path: Path | str, frame: Frame, found: str) -> InputError:
    corner = ",".join(f"{value:g}" for value in frame.place.corner(frame.grid.pixel_size))
    return InputError(
        "volume.misplaced", "this volume does not lie on the voxels of the map, as its header says",
        file=path, expected="its voxels on those of the map", found=found,
        fix=f"if its first voxel is that of the map and only the header is wrong: {_SAY_WHERE} {corner}, and save #1; "
        "else make it again from the map",
    )  # fmt: skip


def _size(volume: MrcMap) -> str:
    """Voxels along x, y and z, or a side."""
    shape = volume.data.shape[::-1]
    return str(shape[0]) if len(set(shape)) == 1 else " x ".join(map(str, shape))


def _words(numbers: Sequence[float] | Array | IntArray) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
