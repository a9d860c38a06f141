"""Before any training: do the files fit each other, and do the images agree with the map as their table is read?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynaflex import fourier, tell
from dynaflex.checking.findings import Report
from dynaflex.checking.leak_search import Leaks, find_leaks
from dynaflex.checking.misreadings import misreadings
from dynaflex.checking.preflight import check_inputs
from dynaflex.checking.readings import Comparison, Score, Stated, compare
from dynaflex.checking.slices import CentralSlices
from dynaflex.config import RunConfig
from dynaflex.data import preprocess
from dynaflex.data.halves import held_out, too_few
from dynaflex.data.particles import Particles
from dynaflex.data.placed import Frame, read_mask
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import transfer_function
from dynaflex.io.mrc import read_map
from dynaflex.shapes import IntArray, Tensor

PARTICLES = 500
_RESOLUTION = 7.0
_SMALLEST_BOX, _LARGEST_BOX = 16, 64
_AT_ONCE = 64
HAND = "The absolute hand cannot be known from images: a map and poses that are both mirrored fit as well."


@dataclass(frozen=True)
class Findings:
    """All that a check found out. ``comparison`` is None without a usable map, ``leaks`` without usable particles."""

    report: Report
    comparison: Comparison | None
    leaks: Leaks | None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        return {
            **self.report.as_dict(),
            "readings": None if self.comparison is None else as_dict(self.comparison),
            "leaks": None if self.leaks is None else asdict(self.leaks),
        }


def check_files(
    particles_path: Path,
    map_path: Path | None = None,
    mask_path: Path | None = None,
    *,
    datadir: Path | None = None,
    class_number: int | None = None,
    invert_contrast: bool = False,
    strip_prefix: str | None = None,
) -> Findings:
    """Read everything, compare it, score the readings of the table against the images, and search for leaks.

    What cannot be read is not compared; nothing is raised.
    """
    report = check_inputs(
        particles_path, map_path, mask_path, datadir, True, class_number=class_number, strip_prefix=strip_prefix
    )
    particles = report.particles
    if particles is None or any(not problem.identifier.startswith("halves.") for problem in report.problems):
        return Findings(report, None, None)
    reference = None if map_path is None else read_map(map_path)
    _look_at_counts(report, particles)
    comparison = None
    if reference is not None:
        mask = None
        if mask_path is not None:
            mask = torch.from_numpy(read_mask(mask_path, Frame(particles.grid, reference.place), []))
        sign = -1.0 if invert_contrast else 1.0
        comparison = compare_readings(particles, torch.from_numpy(reference.data), mask, sign)
        error = refusal(comparison, particles)
        report.problems += [] if error is None else [error]
        report.warnings += warnings(comparison)
    with tell.doing("looking for copies across the half-sets"):
        leaks = find_leaks(particles)
    report.problems += leaks.errors(particles)
    if leaks.images == 0:
        report.warnings.append("copies across the half-sets were not searched for: the images show too little noise")
    report.speak(particles.words)
    return Findings(report, comparison, leaks)


def _look_at_counts(report: Report, particles: Particles) -> None:
    """Too few particles for any training are an error, too few for one with the usual settings a warning."""
    usual = RunConfig()
    apart = held_out(particles.rows[particles.originals], particles.half, usual.held_out_fraction, usual.seed)
    one = particles.conformations
    few = [
        too_few(particles.half[one], apart[one], usual.trained_halves, batch_size, particles.source.path)
        for batch_size in (1, usual.batch_size)
    ]
    if few[0] is not None and report.ok:
        report.problems.append(few[0])
    elif few[1] is not None:
        report.warnings.append(f"with the usual settings: {few[1]}")


def compare_readings(particles: Particles, consensus: Tensor, mask: Tensor | None, sign: float = 1.0) -> Comparison:
    """Compare all readings on at most 500 particles, drawn at random but always the same, low-passed to about 7 Å.

    ``consensus`` and ``mask`` ``(d d d)`` have the particles' box and pixel size. Images are multiplied by ``sign``.

    Raises:
        InputError: an image that cannot be used.
    """
    readings = [replace(one, remedy=particles.words.said(one.remedy)) for one in misreadings()]
    with tell.doing("comparing the images with the map"):
        return compare(state(particles, consensus, mask, sign), readings)


def state(particles: Particles, consensus: Tensor, mask: Tensor | None, sign: float) -> Stated:
    """The particles that are compared, and the map, on a grid that is just fine enough."""
    grid = particles.grid
    box = min(grid.box, _LARGEST_BOX, max(_SMALLEST_BOX, 2 * round(grid.width / _RESOLUTION)))
    small = grid.cropped(box)
    index = np.sort(np.random.default_rng(0).permutation(len(particles))[:PARTICLES])
    chosen = particles.take(index)
    around = _sphere(grid) if mask is None else mask
    pose = chosen.pose.to(torch.device("cpu"), torch.float32)
    return Stated(
        grid=small,
        pixel_size=grid.pixel_size,
        images=_coefficients(chosen, small, sign, lambda batch: chosen.images(batch)),
        after=_coefficients(chosen, small, sign, partial(_neighbours, chosen, 1)),
        before=_coefficients(chosen, small, sign, partial(_neighbours, chosen, -1)),
        rotation=pose.rotation,
        shift=pose.shift,
        ctf=chosen.ctf,
        transfer=transfer_function(chosen.ctf, small),
        slices=CentralSlices(fourier.resize(consensus * around, box, 3), small),
    )


def _sphere(grid: Grid) -> Tensor:
    """A soft ball as wide as the box, for a map without a mask."""
    diameter = preprocess.particle_diameter(grid)
    radius = grid.radius_of_points().view((grid.box,) * 3)
    return ((0.5 * grid.width - radius) / max(0.5 * (grid.width - diameter), grid.pixel_size)).clamp(0.0, 1.0)


def _coefficients(particles: Particles, small: Grid, sign: float, read: Callable[[IntArray], Tensor]) -> Tensor:
    """The images that ``read`` gives for the particles, each with unit variance, as coefficients on the small grid."""
    parts = []
    for batch in np.split(np.arange(len(particles)), range(_AT_ONCE, len(particles), _AT_ONCE)):
        images = particles.restored(read(batch), batch, preprocess.particle_diameter(particles.grid))
        images = sign * images / images.std(dim=(1, 2), keepdim=True).clamp(min=1e-30)
        parts.append(fourier.transform(fourier.crop_images(images, small.box), 2))
    return torch.cat(parts)


def _neighbours(particles: Particles, step: int, index: IntArray) -> Tensor:
    """What lies ``step`` images further in the stacks, or the image itself at their ends."""
    files = particles.files
    last = np.array([stack.n_images for stack in files.stacks], dtype=np.int64)[files.stack] - 1
    moved = replace(particles, files=replace(files, index=np.clip(files.index + step, 0, last)))
    return torch.from_numpy(moved.unchecked_images(index)).nan_to_num()


def refusal(comparison: Comparison, particles: Particles) -> InputError | None:
    """What forbids a run: nothing fits, or another reading fits better; None where the reading as given is right."""
    error = _refusal(comparison, particles)
    return None if error is None else particles.words.error(error)


def _refusal(comparison: Comparison, particles: Particles) -> InputError | None:
    given, better = comparison.given, comparison.better
    if not comparison.matches:
        return InputError(
            "check.no-match",
            "the particles do not match this map at all, as the table is read or in any other way that was tried",
            file=particles.source.path,
            expected="images that fit their own rows of the table, and better than those of other particles",
            found=f"correlation {given.correlation:.4f}, z = {given.z:.1f} with their own; "
            f"{comparison.control.correlation:.4f}, z = {comparison.control.z:.1f} with those of others",
            fix="check that map, table and stacks are of one refinement and that rows and images are in the same order",
        )
    if better is None:
        return None
    also = "".join(f", or {score.name}" for score in comparison.ties)
    remedies = "; or ".join(score.remedy for score in (better, *comparison.ties))
    return InputError(
        "check.misread",
        f"the images fit better when the table is read otherwise: {better.name}{also}",
        file=particles.source.path,
        expected="no other reading to fit better",
        found=f"z = {given.z:.0f} as given, z = {better.z:.0f} with {better.name}, "
        f"better by {better.gain:.0f} standard errors",
        fix=f"{remedies}; --skip-check trains all the same",
    )


def verdict(comparison: Comparison) -> str:
    """The outcome in one sentence."""
    if not comparison.matches:
        return "No reading of the table makes the particles match this map."
    if comparison.better is not None:
        return f"Another reading fits better: {comparison.better.name}. To apply it: {comparison.better.remedy}."
    worse = [score for score in comparison.others if score not in comparison.untold]
    told = f"of {len(comparison.others)} other readings {len(worse)} fit significantly worse"
    untold = f" and {len(comparison.untold)} cannot be told from it" if comparison.untold else ""
    return f"The table as given fits best: {told}{untold}."


def warnings(comparison: Comparison) -> list[str]:
    """Readings that fit better than the one as given, but not by enough to be sure; none where a run is refused."""
    if comparison.better is not None or not comparison.matches:
        return []
    return [
        f"the images fit a little better with {score.name} ({score.gain:.1f} standard errors): {score.remedy}?"
        for score in comparison.perhaps_better
    ]


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values for JSON, all readings from the best to the worst."""
    return {
        "verdict": verdict(comparison),
        "hand": HAND,
        "particles": comparison.particles,
        "matches": comparison.matches,
        "given": asdict(comparison.given),
        "control": asdict(comparison.control),
        "others": [asdict(score) for score in comparison.others],
    }


def ranked(comparison: Comparison) -> list[Score]:
    """All readings and the control, the best first; of those with the contrast inverted, only what fits better."""
    kept = [s for s in comparison.others if s.gain > 0.0 or s.same or "contrast" not in s.name or "," not in s.name]
    return sorted([comparison.given, comparison.control, *kept], key=lambda score: -score.correlation)
