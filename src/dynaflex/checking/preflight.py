"""Everything that can be wrong with the input files, found before any training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from dynaflex import tell
from dynaflex.checking.duplicates import picked_twice
from dynaflex.checking.findings import Report
from dynaflex.checking.image_checks import check_images
from dynaflex.checking.volume_checks import look_at_map, look_at_mask
from dynaflex.data.columns import PARTICLE
from dynaflex.data.particles import Particles, read_particles
from dynaflex.data.placed import Frame, require_grid, same_pixel_size
from dynaflex.data.views import views_of_halves
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.mrc import Place

__all__ = ["Report", "check_inputs"]

_HALF = "rlnRandomSubset"


def check_inputs(
    particles_path: Path | str,
    map_path: Path | str | None = None,
    mask_path: Path | str | None = None,
    datadir: Path | None = None,
    read_images: bool = False,
    seed: int = 0,
    class_number: int | None = None,
    strip_prefix: str | None = None,
) -> Report:
    """Read the files, compare them with each other, and collect every problem rather than stop at the first.

    The particles are those of :func:`dynaflex.data.particles.read_particles`, brought to the grid of the map where
    their optics groups differ. With ``read_images`` every image is read and looked at. Map and mask must share the
    particles' pixel size within 0.05 %, and a header without one is accepted with a warning; the map must have their
    box, and the mask lie in it.
    """
    report, of_map = Report(), Report()
    consensus = look_at_map(of_map, map_path)
    grid = None
    if consensus is not None and consensus.pixel_size is not None:
        grid = Grid(consensus.box, consensus.pixel_size)
    with report.collecting(), tell.doing("reading the table"):
        report.particles = read_particles(
            particles_path, datadir, seed, class_number=class_number, grid=grid, strip_prefix=strip_prefix
        )
    particles = report.particles
    if particles is not None:
        grid = particles.grid
        _describe(report, particles, seed)
    report.add(of_map)
    if consensus is not None and map_path is not None and particles is not None:
        with report.collecting():
            require_grid(consensus, map_path, particles.grid, "the particles", report.warnings)
    place = Place() if consensus is None else consensus.place
    mask = look_at_mask(report, mask_path, None if grid is None else Frame(grid, place))
    if particles is not None:
        report.problems += picked_twice(particles, mask)
    if particles is not None and read_images:
        check_images(report, particles)
    if particles is not None:
        report.speak(particles.words)
    return report


def _describe(report: Report, particles: Particles, seed: int) -> None:
    report.warnings += particles.warnings
    table = particles.source.blocks[particles.particles_block]
    one = particles.conformations
    halves = [int((particles.half[one] == half).sum()) for half in (1, 2)]
    defocus = particles.ctf.defocus_u
    listed = len(table) if particles.tilted is None else table[PARTICLE].nunique()
    if particles.tilted is not None:
        report.facts["tilt_images"] = len(particles)
    report.facts |= {
        "particles_in_table": listed,
        "particles_used": len(one),
        "particles_excluded": listed - len(one),
        "excluded": [{"row": exclusion.row, "reason": exclusion.reason} for exclusion in particles.excluded],
        "half_sets": particles.words.said(_HALF) if _HALF in table else f"drawn with seed {seed}",
        "half1": halves[0],
        "half2": halves[1],
        "box": particles.grid.box,
        "pixel_size": particles.grid.pixel_size,
        "image_files": len(particles.image_paths),
        "images_in_files": sum(stack.n_images for stack in particles.files.stacks),
        "optics_groups": {str(group): n for group, n in sorted(Counter(particles.group.tolist()).items())},
        "voltage_kv": sorted({float(v) for v in particles.ctf.voltage_kv}),
        "defocus": [float(defocus.min()), float(defocus.median()), float(defocus.max())],
        "largest_shift": float(particles.pose.shift.abs().max()),
        "views": {
            whose: {"missing": round(views.missing, 3), "efficiency": round(views.efficiency, 3)}
            for whose, views in views_of_halves(particles.pose.rotation.numpy(), particles.half).items()
        },
    }
    _check_halves(report, particles, halves)
    _check_metadata(report, particles)
    _check_box(report, particles)


def _check_box(report: Report, particles: Particles) -> None:
    """Boxes that cannot be used, or only slowly."""
    box = particles.grid.box
    if box % 2:
        report.problems.append(
            InputError(
                "particles.odd-box",
                "images need an even number of pixels a side",
                file=particles.image_paths[0],
                expected=f"{box + 1} pixels",
                found=f"{box} pixels",
                fix=f"relion_image_handler --i {particles.source.path} --new_box {box + 1} --o even; the map alike",
            )
        )
        return
    smaller = next(n for n in range(box, 0, -2) if _is_smooth(n))
    if smaller < box:
        report.warnings.append(
            f"a box of {box} pixels makes Fourier transforms slow; {smaller} has no prime factor above 7"
        )


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


def _check_halves(report: Report, particles: Particles, halves: list[int]) -> None:
    path = particles.source.path
    if min(halves) == 0:
        report.problems.append(
            InputError(
                "halves.empty",
                "one half-set has no particles",
                file=path,
                field=_HALF,
                expected="particles in halves 1 and 2",
                found=f"{halves[0]} and {halves[1]}",
                fix="use the table of a 3D auto-refinement, or remove the column: halves that are drawn share poses",
            )
        )
    elif min(halves) < 0.4 * sum(halves):
        report.warnings.append(f"the half-sets are unequal: {halves[0]} and {halves[1]} particles")
    image = particles.image
    pairs = np.unique(np.stack([image, particles.half]), axis=1)
    shared = len(pairs[0]) - len(np.unique(image))
    if shared:
        report.problems.append(
            InputError(
                "halves.shared-image",
                f"{shared} images are in both half-sets, which are then not independent",
                file=path,
                field=_HALF,
                expected="every copy of an image in the same half",
                fix="remove the copies, or give all copies of an image, as of one expanded particle, the same half",
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
    wrong = [size for size in sizes if not same_pixel_size(size, particles.grid.pixel_size)]
    if wrong:
        report.warnings.append(
            f"a stack header says {wrong[0]:g} Å a pixel, the table {particles.grid.pixel_size:g} Å, which is used"
        )
    longer = [stack for stack in particles.files.stacks if stack.surplus]
    if longer:
        report.warnings.append(
            f"{longer[0].path} has {longer[0].surplus} bytes more than its header says ({len(longer)} such files)"
        )
