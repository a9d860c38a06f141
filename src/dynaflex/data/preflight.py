"""Everything that can be wrong with the input files, found before any training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dynaflex.data.particles import Particles, read_particles
from dynaflex.errors import InputError
from dynaflex.io.mrc import MrcMap, read_map
from dynaflex.shapes import Array

# A pixel size is wrong, not rounded, when it differs by more than this fraction.
_PIXEL_SIZE_TOLERANCE = 0.01
_READ_AT_ONCE = 256


@dataclass
class Report:
    """What a check found: ``problems`` forbid a run, ``warnings`` deserve a look, ``facts`` describe the data."""

    problems: list[InputError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True where nothing forbids a run."""
        return not self.problems

    def raise_first(self) -> None:
        """Raise the first problem, if there is one."""
        for problem in self.problems:
            raise problem

    def as_dict(self) -> dict[str, object]:
        """The report as plain values for JSON."""
        return {
            "ok": self.ok,
            "problems": [
                {
                    "identifier": error.identifier,
                    "message": error.problem,
                    "file": None if error.file is None else str(error.file),
                    "field": error.field,
                    "row": error.row,
                    "expected": None if error.expected is None else str(error.expected),
                    "found": None if error.found is None else str(error.found),
                    "fix": error.fix,
                }
                for error in self.problems
            ],
            "warnings": self.warnings,
            "facts": self.facts,
        }


def check_inputs(
    particles_path: Path | str,
    map_path: Path | str | None = None,
    mask_path: Path | str | None = None,
    datadir: Path | None = None,
    read_images: bool = False,
    seed: int = 0,
) -> Report:
    """Read the files, compare them with each other, and collect every problem rather than stop at the first.

    The particles are those of :func:`dynaflex.data.particles.read_particles`. With ``read_images`` every image is read
    and looked at. Map and mask must share the particles' box and, within 1 %, their pixel size; a header without a
    pixel size is accepted with a warning.
    """
    report = Report()
    particles = _particles(report, particles_path, datadir, seed)
    consensus = _volume(report, map_path, "map")
    mask = _volume(report, mask_path, "mask")
    if consensus is not None and map_path is not None:
        _check_values(report, consensus, map_path)
    if mask is not None and mask_path is not None:
        _check_mask(report, mask, mask_path)
    if particles is not None:
        for volume, path in ((consensus, map_path), (mask, mask_path)):
            if volume is not None and path is not None:
                _compare(report, volume, path, particles.grid.box, particles.grid.pixel_size, "the particles")
    elif consensus is not None and mask is not None and mask_path is not None:
        _compare(report, mask, mask_path, consensus.box, consensus.pixel_size, "the map")
    if particles is not None and read_images:
        _check_images(report, particles)
    return report


def _particles(report: Report, path: Path | str, datadir: Path | None, seed: int) -> Particles | None:
    try:
        particles = read_particles(path, datadir, seed)
    except InputError as error:
        report.problems.append(error)
        return None
    report.warnings += particles.warnings
    table = particles.source.blocks[particles.particles_block]
    halves = [int((particles.half == half).sum()) for half in (1, 2)]
    defocus = particles.ctf.defocus_u
    report.facts |= {
        "particles_in_table": len(table),
        "particles_used": len(particles),
        "particles_excluded": len(particles.excluded),
        "excluded": [{"row": exclusion.row, "reason": exclusion.reason} for exclusion in particles.excluded],
        "half_sets": "rlnRandomSubset" if "rlnRandomSubset" in table else f"drawn with seed {seed}",
        "half1": halves[0],
        "half2": halves[1],
        "box": particles.grid.box,
        "pixel_size": particles.grid.pixel_size,
        "image_files": len(particles.image_paths),
        "optics_groups": {str(group): n for group, n in sorted(Counter(particles.group.tolist()).items())},
        "voltage_kv": sorted({float(v) for v in particles.ctf.voltage_kv}),
        "defocus": [float(defocus.min()), float(defocus.median()), float(defocus.max())],
        "largest_shift": float(particles.pose.shift.abs().max()),
    }
    _check_halves(report, particles, halves)
    _check_metadata(report, particles)
    return particles


def _check_halves(report: Report, particles: Particles, halves: list[int]) -> None:
    path = particles.source.path
    if min(halves) == 0:
        report.problems.append(
            InputError(
                "halves.empty",
                "one half-set has no particles",
                file=path,
                field="rlnRandomSubset",
                expected="particles in halves 1 and 2",
                found=f"{halves[0]} and {halves[1]}",
                fix="use the table of a 3D auto-refinement, or remove the column to have halves drawn",
            )
        )
    elif min(halves) < 0.4 * len(particles):
        report.warnings.append(f"the half-sets are unequal: {halves[0]} and {halves[1]} particles")
    image = particles.files.stack * (1 + particles.files.index.max()) + particles.files.index
    pairs = np.unique(np.stack([image, particles.half]), axis=1)
    shared = len(pairs[0]) - len(np.unique(image))
    if shared:
        report.problems.append(
            InputError(
                "halves.shared-image",
                f"{shared} images are in both half-sets, which are then not independent",
                file=path,
                field="rlnRandomSubset",
                expected="every copy of an image in the same half",
                fix="remove the duplicates, or remove the column to have halves drawn",
            )
        )
    elif len(np.unique(image)) < len(image):
        report.warnings.append(f"{len(image) - len(np.unique(image))} particles show an image that is listed before")


def _check_metadata(report: Report, particles: Particles) -> None:
    """Numbers that are possible but look like another unit."""
    typical = float(particles.ctf.defocus_u.median())
    if not 1000.0 <= typical <= 80000.0:
        report.warnings.append(f"the median defocus is {typical:.0f} Å: is it in another unit?")
    far = float((particles.pose.shift.abs().amax(dim=1) > 0.25 * particles.grid.width).double().mean())
    if far > 0.01:
        report.warnings.append(f"{100 * far:.0f} % of the shifts exceed a quarter of the box: pixels taken for Å?")
    sizes = {stack.pixel_size for stack in particles.files.stacks if stack.pixel_size is not None}
    wrong = [size for size in sizes if not _close(size, particles.grid.pixel_size)]
    if wrong:
        report.warnings.append(
            f"a stack header says {wrong[0]:g} Å a pixel, the table {particles.grid.pixel_size:g} Å, which is used"
        )


def _volume(report: Report, path: Path | str | None, kind: str) -> MrcMap | None:
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


def _check_values(report: Report, consensus: MrcMap, path: Path | str) -> None:
    if consensus.data.min() == consensus.data.max():
        report.problems.append(
            InputError(
                "map.constant",
                "this map has the same value everywhere",
                file=path,
                expected="density",
                found=float(consensus.data.min()),
                fix="give the map of a 3D refinement",
            )
        )
        return
    values: Array = consensus.data.astype(np.float64)
    values -= values.mean()
    # Molecules are white: dense voxels are few and far above the mean, so the third moment is positive.
    if float((values**3).mean()) < 0.0:
        report.warnings.append(f"{path} looks inverted: molecules should be white (positive)")


def _check_mask(report: Report, mask: MrcMap, path: Path | str) -> None:
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
    if not 0.001 <= covered <= 0.6:
        report.warnings.append(f"the mask {path} covers {100 * covered:.2g} % of the box")
    if bool(np.isin(mask.data, (0.0, 1.0)).all()):
        report.warnings.append(f"the mask {path} has a hard edge, which inflates masked FSC curves")


def _compare(report: Report, volume: MrcMap, path: Path | str, box: int, pixel_size: float | None, what: str) -> None:
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
    elif pixel_size is not None and not _close(volume.pixel_size, pixel_size):
        report.problems.append(
            InputError(
                "volume.pixel-size",
                f"this volume and {what} have different pixel sizes",
                file=path,
                expected=f"{pixel_size:.5g} Å",
                found=f"{volume.pixel_size:.5g} Å",
                fix=f"if the header is wrong: relion_image_handler --i {path} --force_header_angpix {pixel_size:.5g} "
                f"--o out.mrc; if the volume is: --angpix {volume.pixel_size:.5g} --rescale_angpix {pixel_size:.5g}",
            )
        )


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= _PIXEL_SIZE_TOLERANCE * b


def _check_images(report: Report, particles: Particles) -> None:
    """Read every image once, stack by stack."""
    order = np.lexsort((particles.files.index, particles.files.stack))
    means: list[float] = []
    deviations: list[float] = []
    for start in range(0, len(order), _READ_AT_ONCE):
        index = order[start : start + _READ_AT_ONCE]
        try:
            images = particles.unchecked_images(index)
        except InputError as error:
            report.problems.append(error)
            return
        report.problems += particles.image_faults(index, images)
        finite = images[np.isfinite(images).all(axis=(1, 2))]
        means += finite.mean(axis=(1, 2), dtype=np.float64).tolist()
        deviations += finite.std(axis=(1, 2), dtype=np.float64).tolist()
    report.facts["images_read"] = len(order)
    if means:
        report.facts["image_mean"] = float(np.mean(means))
        report.facts["image_deviation"] = [float(v) for v in np.quantile(deviations, (0.0, 0.5, 1.0))]
