"""What can be wrong with the images themselves; all of them are read."""

from __future__ import annotations

import time

import numpy as np
import torch

from dynaflex import tell
from dynaflex.checking.findings import Report
from dynaflex.data.particles import Particles
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray

_READ_AT_ONCE = 256
_LISTED = 20
# Seconds of reading that are worth a word, and the MB a second below which they are.
_WORTH_TELLING, _SLOW = 5.0, 20.0
# Images whose deviation is so many times the usual one, or so small a part of it, are not like the others.
_OUTLIER = 10.0
# Farther than this part of the box from its centre no particle lies, and every image that was not masked shows noise.
_CORNERS = 0.55


def check_images(report: Report, particles: Particles) -> None:
    """Read every image once, stack by stack, and note what cannot be used and what is unlike the others."""
    order = np.lexsort((particles.files.index, particles.files.stack))
    look = ImageLook(particles)
    seconds = 0.0
    for start in tell.each(range(0, len(order), _READ_AT_ONCE), "reading the images"):
        index = order[start : start + _READ_AT_ONCE]
        began = time.monotonic()
        try:
            images = particles.unchecked_images(index)
        except InputError as error:
            report.problems.append(error)
            return
        seconds += time.monotonic() - began
        look.see(index, images)
    rate = 4e-6 * len(order) * particles.grid.box**2 / max(seconds, 1e-9)
    if seconds > _WORTH_TELLING and rate < _SLOW:
        report.warnings.append(
            f"the images were read at {rate:.1f} MB/s in {seconds:.0f} s, and a run reads them several times: keep "
            "them on a local disk with --cache DIR"
        )
    look.note(report)


class ImageLook:
    """What was seen of images that are read for whatever purpose."""

    def __init__(self, particles: Particles) -> None:
        self.particles = particles
        self._in_corners = _corners(particles.grid)
        self._faults: list[InputError] = []
        self._masked: list[int] = []
        self._seen = 0
        self._read: list[int] = []
        self._means: list[float] = []
        self._deviations: list[float] = []

    def see(self, index: IntArray, images: FloatArray) -> None:
        """Look at the ``images`` ``(b h h)`` of the particles at positions ``index`` ``(b)``."""
        corners = self._in_corners
        self._seen += len(index)
        self._faults += self.particles.image_faults(index, images)
        finite = np.isfinite(images).all(axis=(1, 2))
        self._masked += index[finite & _constant(images[:, corners]) & ~_constant(images[:, ~corners])].tolist()
        self._read += index[finite].tolist()
        self._means += images[finite].mean(axis=(1, 2), dtype=np.float64).tolist()
        self._deviations += images[finite].std(axis=(1, 2), dtype=np.float64).tolist()

    @property
    def problems(self) -> list[InputError]:
        """What cannot be used, of what was seen so far."""
        masked = [_masked(self.particles, self._masked, self._seen)] if self._masked else []
        return self._faults[:_LISTED] + masked

    def note(self, report: Report) -> None:
        """Note in a report what cannot be used and what is unlike the others."""
        report.problems += self.problems
        report.facts["images_read"] = self._seen
        if len(self._faults) > _LISTED:
            report.facts["bad_images"] = len(self._faults)
        if self._means:
            report.facts["image_mean"] = float(np.mean(self._means))
            report.facts["image_deviation"] = [float(v) for v in np.quantile(self._deviations, (0.0, 0.5, 1.0))]
            _warn_of_outliers(report, self.particles.rows[self._read], np.array(self._deviations))


def _warn_of_outliers(report: Report, rows: IntArray, deviation: Array) -> None:
    usual = float(np.median(deviation))
    unlike = np.flatnonzero((deviation > _OUTLIER * usual) | ((deviation < usual / _OUTLIER) & (deviation > 0.0)))
    if unlike.size:
        worst = unlike[np.argsort(-np.abs(np.log(deviation[unlike] / usual)))][:10]
        listed = ", ".join(f"row {rows[i]}: {deviation[i] / usual:.2g}" for i in worst)
        report.warnings.append(
            f"{unlike.size} images deviate more than {_OUTLIER:g} times more or less than usual ({listed} times)"
        )


def _corners(grid: Grid) -> BoolArray:
    """The pixels ``(h h)`` in the corners of an image."""
    axis = grid.axis(dtype=torch.float64).numpy() / grid.width
    corners: BoolArray = np.hypot(axis[:, None], axis[None, :]) > _CORNERS
    return corners


def _constant(values: FloatArray) -> BoolArray:
    """Which rows of ``values`` ``(n m)`` hold one value only."""
    constant: BoolArray = values.min(axis=1) == values.max(axis=1)
    return constant


def _masked(particles: Particles, masked: list[int], n_images: int) -> InputError:
    """Images whose corners are empty; the first in the order of the table is named."""
    stack, number, row = particles.image_of(min(masked))
    return InputError(
        "particles.masked",
        f"image {number} is constant outside a circle: it was masked, as {len(masked)} of {n_images} images were",
        file=stack,
        expected="noise around the particle, from which its strength is measured",
        found=row,
        fix="give the particles as they were extracted, not masked",
    )
