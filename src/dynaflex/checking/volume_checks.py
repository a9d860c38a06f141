"""What can be wrong with a map or a mask, by itself and beside the particles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynaflex.checking.findings import Report
from dynaflex.data.placed import MASK, Frame, matched, put
from dynaflex.errors import InputError
from dynaflex.io.mrc import MrcMap, read_map, read_region
from dynaflex.shapes import Array, FloatArray

# Half-maps of the strongest signal differ by far more of their correlation than this; rounding does not.
_EQUAL = 1e-6


def look_at_map(report: Report, path: Path | str | None) -> MrcMap | None:
    """The map at ``path`` with all that can be said about it alone; None where it cannot be read."""
    if path is None:
        return None
    with report.collecting():
        consensus = read_map(path)
        _describe(report, consensus, "map")
        check_map(report, consensus, path)
        return consensus
    return None


def look_at_mask(report: Report, path: Path | str | None, frame: Frame | None) -> FloatArray | None:
    """The mask at ``path`` in the voxels of ``frame``, ``(d d d)``; None where that cannot be."""
    if path is None:
        return None
    with report.collecting():
        mask = read_region(path)
        _describe(report, mask, "mask")
        placed = None if frame is None else put(mask, path, frame, MASK, report.warnings)
        check_mask(report, mask.data if placed is None else placed, path)
        return placed
    return None


def read_half_maps(
    paths: tuple[Path, Path], consensus: MrcMap, consensus_path: Path, frame: Frame, warnings: list[str]
) -> list[FloatArray]:
    """The maps of the two halves that a consensus was merged from, in its voxels, ``(d d d)`` each.

    Raises:
        InputError: one cannot be read, does not lie on the consensus, is no map, or is another of the three.
    """
    report, halves = Report(), []
    for path in paths:
        half = matched(read_region(path), path, frame, report.warnings)
        check_map(report, MrcMap(half, frame.grid.pixel_size), path)
        halves.append(half)
    report.raise_first()
    require_different(paths[0], halves[0], paths[1], halves[1])
    for path, half in zip(paths, halves, strict=True):
        require_different(consensus_path, consensus.data, path, half)
    warnings += report.warnings
    return halves


def require_different(first_path: Path, first: FloatArray, second_path: Path, second: FloatArray) -> None:
    """Two maps ``(d d d)`` must not be one, at whatever grey scale: compared with itself, a map agrees fully.

    Raises:
        InputError: they are.
    """
    if first_path.resolve() != second_path.resolve():
        a, b = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (first, second))
        if float((a * b).sum()) < (1.0 - _EQUAL) * float(np.sqrt((a * a).sum() * (b * b).sum())):
            return
    raise InputError(
        "map.same", f"this is the same map as {first_path}",
        file=second_path, expected="maps made from different particles", found="equal values",
        fix="give run_half1_class001_unfil.mrc and run_half2_class001_unfil.mrc of a RELION refinement, or "
        "cryoSPARC's map_half_A and map_half_B",
    )  # fmt: skip


def _describe(report: Report, volume: MrcMap, name: str) -> None:
    """What the header of a volume says and how far its values go, as facts under ``name``."""
    report.facts[name] = {
        "box": volume.box if len(set(volume.data.shape)) == 1 else list(volume.data.shape[::-1]),
        "pixel_size": volume.pixel_size,
        "minimum": float(volume.data.min()),
        "maximum": float(volume.data.max()),
    }


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
                expected="density",
                found="values from 0 to 1, most of them 0 or 1",
                fix="give a map in its place, and the mask with --mask",
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


def check_mask(report: Report, mask: FloatArray, path: Path | str) -> None:
    """A mask must run from 0 to 1; it should be soft, and cover neither nothing nor all."""
    lowest, highest = float(mask.min()), float(mask.max())
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
    covered = float((mask > 0.5).mean())
    if not 0.01 <= covered <= 0.6:
        report.warnings.append(f"the mask {path} covers {100 * covered:.3g} % of the box")
    if bool(np.isin(mask, (0.0, 1.0)).all()):
        report.warnings.append(f"the mask {path} has a hard edge, which inflates masked FSC curves")
    faces = [mask.take(side, axis) for axis in range(3) for side in (0, -1)]
    if max(float(face.max()) for face in faces) > 0.1:
        report.warnings.append(f"the mask {path} touches the edge of the box, where maps are not to be trusted")
