"""What can be wrong with a map or a mask, by itself and beside the particles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynaflex.data.findings import Report
from dynaflex.errors import InputError
from dynaflex.io.mrc import MrcMap, read_map
from dynaflex.shapes import Array

# A pixel size is wrong, not rounded, when it differs by more than this fraction. Scores cannot tell: a map that is
# 3 % too large fits the images nearly as well.
_PIXEL_SIZE_TOLERANCE = 5e-4
_DEFAULT = ", which other programs write when they do not know it"


def read_volume(report: Report, path: Path | str | None, kind: str) -> MrcMap | None:
    """The volume at ``path``, described in the report's facts under ``kind``; None where it cannot be read."""
    if path is None:
        return None
    try:
        volume = read_map(path)
    except InputError as error:
        report.problems.append(error)
        return None
    report.facts[kind] = {
        "box": volume.box,
        "pixel_size": volume.pixel_size,
        "minimum": float(volume.data.min()),
        "maximum": float(volume.data.max()),
    }
    return volume


def check_map(report: Report, consensus: MrcMap, path: Path | str) -> None:
    """A map must vary, and is no mask; molecules should be white in it."""
    lowest, highest = float(consensus.data.min()), float(consensus.data.max())
    if lowest == highest:
        report.problems.append(
            InputError(
                "map.constant",
                "this map has the same value everywhere",
                file=path,
                expected="density",
                found=f"{lowest:g}",
                fix="give the map of a 3D refinement",
            )
        )
        return
    if lowest >= 0.0 and abs(highest - 1.0) < 1e-3 and float(np.isin(consensus.data, (0.0, 1.0)).mean()) > 0.7:
        report.problems.append(
            InputError(
                "map.mask",
                "this is a mask, not a map",
                file=path,
                field="--map",
                expected="density",
                found="values from 0 to 1, most of them 0 or 1",
                fix="give the map with --map and the mask with --mask",
            )
        )
        return
    values: Array = consensus.data.astype(np.float64)
    values -= values.mean()
    # Molecules are white: dense voxels are few and far above the mean, so the third moment is positive.
    if float((values**3).mean()) < 0.0:
        report.warnings.append(
            f"{path} looks inverted: molecules should be white (positive); values are {lowest:.3g} to {highest:.3g}, "
            f"{float(consensus.data.mean(dtype=np.float64)):.3g} on average"
        )


def check_mask(report: Report, mask: MrcMap, path: Path | str) -> None:
    """A mask must run from 0 to 1; it should be soft, and cover neither nothing nor all."""
    lowest, highest = float(mask.data.min()), float(mask.data.max())
    if lowest < -1e-3 or highest > 1.001 or highest < 0.5:
        report.problems.append(
            InputError(
                "mask.values",
                "this is not a mask",
                file=path,
                expected="values from 0 to 1 that reach 1",
                found=f"{lowest:.3g} to {highest:.3g}",
                fix="make one with relion_mask_create",
            )
        )
        return
    covered = float((mask.data > 0.5).mean())
    if not 0.01 <= covered <= 0.6:
        report.warnings.append(f"the mask {path} covers {100 * covered:.3g} % of the box")
    if bool(np.isin(mask.data, (0.0, 1.0)).all()):
        report.warnings.append(f"the mask {path} has a hard edge, which inflates masked FSC curves")
    faces = [mask.data.take(side, axis) for axis in range(3) for side in (0, -1)]
    if max(float(face.max()) for face in faces) > 0.1:
        report.warnings.append(f"the mask {path} touches the edge of the box, where maps are not to be trusted")


def compare(report: Report, volume: MrcMap, path: Path | str, box: int, pixel_size: float | None, what: str) -> None:
    """A volume must have ``box`` voxels of ``pixel_size`` Å a side, as ``what`` has."""
    if volume.box != box:
        report.problems.append(
            InputError(
                "volume.box",
                f"this volume and {what} have different boxes",
                file=path,
                expected=f"{box} voxels",
                found=f"{volume.box} voxels",
                fix=f"relion_image_handler --i {path} --new_box {box} --o out.mrc (rescale first if need be)",
            )
        )
    if volume.pixel_size is None:
        report.warnings.append(f"{path} has no pixel size in its header; that of the particles is assumed")
    elif pixel_size is not None and not same_pixel_size(volume.pixel_size, pixel_size):
        report.problems.append(
            InputError(
                "volume.pixel-size",
                f"this volume and {what} have different pixel sizes",
                file=path,
                expected=f"{pixel_size:.6g} Å",
                found=f"{volume.pixel_size:.6g} Å{_DEFAULT if volume.pixel_size == 1.0 else ''}",
                fix=f"if the header is wrong: relion_image_handler --i {path} --force_header_angpix {pixel_size:.5g} "
                f"--o out.mrc; if the volume is: --angpix {volume.pixel_size:.5g} --rescale_angpix {pixel_size:.5g}",
            )
        )


def same_pixel_size(a: float, b: float) -> bool:
    """Whether two pixel sizes in Å are the same but for rounding."""
    return abs(a - b) <= _PIXEL_SIZE_TOLERANCE * b
