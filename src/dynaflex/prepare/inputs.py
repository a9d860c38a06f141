"""What a run is made from, read and compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from dynaflex import fourier
from dynaflex.checking.findings import Report
from dynaflex.checking.image_checks import check_images
from dynaflex.checking.preflight import check_inputs
from dynaflex.checking.volume_checks import read_half_maps
from dynaflex.config import RunConfig
from dynaflex.data import preprocess
from dynaflex.data.halves import held_out
from dynaflex.data.particles import Particles
from dynaflex.data.placed import Frame, read_mask
from dynaflex.density import placement
from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.io.mrc import Place, read_map
from dynaflex.prepare.images import Imaging
from dynaflex.prepare.paths import InputPaths as InputPaths
from dynaflex.reconstruct.postprocess import soft_mask
from dynaflex.rotations import point_group
from dynaflex.shapes import BoolArray, Tensor
from dynaflex.symmetry.asymmetric_unit import (
    direction_of_least_cut,
    is_assembly,
    require_symmetric,
    unit_towards,
    unit_within,
    whole_of,
)
from dynaflex.symmetry.expansion import expanded

_LARGEST_TRAINING_BOX = 128
_MASK_EDGE = 20.0


@dataclass(frozen=True)
class Inputs:
    """Everything that both halves are built from; nothing in it depends on an image.

    ``mask`` ``(d d d)`` is soft and serves the FSC and the placement, ``given_mask`` is the one the user gave around
    the whole molecule. With a symmetry, ``unit`` ``(d d d)`` is the asymmetric unit, which alone moves, in weights that
    add up to 1 over the rotations ``group`` ``(g 3 3)``; particles are copies then, one for each unit.
    ``consensus`` holds the map that each half starts from, to be low-passed to R0, and under 0 the one
    that both have in common; ``threshold`` is the contour of the molecule in it at R0, ``place`` what its header says;
    ``warnings`` say what of the files deserves a look.
    """

    paths: InputPaths
    particles: Particles
    held_out: BoolArray
    mask: Tensor
    given_mask: Tensor | None
    consensus: dict[int, Tensor]
    place: Place
    threshold: float
    imaging: Imaging
    full_imaging: Imaging
    independent_starts: bool
    warnings: tuple[str, ...]
    group: Tensor
    unit: Tensor | None = None

    @property
    def frame(self) -> Frame:
        """The voxels of the consensus, which volumes that belong to it are brought to."""
        return Frame(self.full_imaging.grid, self.place)

    def mask_on(self, grid: Grid) -> Tensor:
        """The mask ``(d d d)`` at the voxels of a grid of the same width."""
        return fourier.resize(self.mask, grid.box, 3).clamp(0.0, 1.0)

    def members(self, half: int) -> BoolArray:
        """Which particles a half holds, ``(p)``; half 0 holds all."""
        return self.particles.half == half if half else np.ones(len(self.particles), dtype=bool)

    def learned_from(self, half: int) -> Tensor:
        """Which of the particles of a half ``(p)`` are trained on, ``(t)``."""
        return torch.from_numpy(np.flatnonzero(~self.held_out[self.members(half)]))

    @property
    def images_held_out(self) -> int:
        """How many particles nothing is learned from, however many copies or images of them."""
        return len(np.unique(self.particles.particle[self.held_out]))

    def without_table(self) -> Inputs:
        """The same for work that asks for no line of the input table: that is as large as all else."""
        source = replace(self.particles.source, blocks={})
        return replace(self, particles=replace(self.particles, source=source))

    def warned(self, report: Report) -> Inputs:
        """The same inputs with the warnings of another check.

        Raises:
            InputError: its first problem.
        """
        report.speak(self.particles.words)
        report.raise_first()
        return replace(self, warnings=(*self.warnings, *report.warnings))

    def some_held_out(self, most: int) -> Particles:
        """At most so many of the particles that nothing is learned from, always the same, with all images of each."""
        held_out, tilted = np.flatnonzero(self.held_out), self.particles.tilted
        random = np.random.default_rng(0)
        if tilted is None:
            return self.particles.take(np.sort(random.permutation(held_out)[:most]))
        chosen = random.permutation(np.unique(tilted[held_out]))[:most]
        return self.particles.take(held_out[np.isin(tilted[held_out], chosen)])


def read_inputs(paths: InputPaths, config: RunConfig) -> Inputs:
    """Read and compare all inputs but the images, which are looked at when their turn comes.

    Raises:
        InputError: something is missing or does not fit.
    """
    group = point_group(config.symmetry)
    report = check_inputs(
        paths.particles,
        paths.consensus,
        paths.mask,
        paths.datadir,
        seed=config.seed,
        class_number=config.class_number,
        strip_prefix=paths.strip_prefix,
    )
    report.raise_first()
    assert report.particles is not None
    particles = expanded(report.particles, config.symmetry, report.warnings)
    reference = read_map(paths.consensus)
    grid = particles.grid
    frame = Frame(grid, reference.place)
    starts = [reference.data] * 2
    if paths.half_maps is not None:
        starts = read_half_maps(paths.half_maps, reference, paths.consensus, frame, report.warnings)
    given = None if paths.mask is None else torch.from_numpy(read_mask(paths.mask, frame, []))
    low = fourier.low_pass(torch.from_numpy(reference.data), grid, config.shared_resolution)
    focus = given if given is not None and len(group) > 1 and not is_assembly(given, group) else None
    given = given if focus is None else None
    threshold = contour(low if given is None else low * given, config)
    mask = soft_mask(low, grid, threshold) if given is None else given
    if focus is not None:
        mask = torch.maximum(mask, whole_of(focus, group))
    unit = None
    if len(group) > 1:
        volume = torch.from_numpy(reference.data)
        words = require_symmetric(paths.consensus, volume, grid, group, config.symmetry, config.shared_resolution)
        report.warnings += words
        unit = _unit(low * mask, threshold, focus, grid, group)
    diameter = config.particle_diameter or preprocess.particle_diameter(grid, mask)
    train_box = _training_box(grid, config)
    sign = -1.0 if config.invert_contrast else 1.0
    edge = min(_MASK_EDGE, 0.5 * max(grid.width - diameter, 4.0 * grid.pixel_size))
    preprocess.require_background(preprocess.circular_mask(grid, diameter, edge))
    return Inputs(
        paths=paths,
        particles=particles,
        held_out=held_out(particles.rows[particles.originals], particles.half, config.held_out_fraction, config.seed),
        mask=mask,
        given_mask=given,
        consensus={half: torch.from_numpy(volume) for half, volume in enumerate((reference.data, *starts))},
        place=reference.place,
        threshold=threshold,
        imaging=Imaging(grid.cropped(train_box), diameter, edge, sign),
        full_imaging=Imaging(grid, diameter, edge, sign),
        independent_starts=paths.half_maps is not None,
        warnings=tuple(report.warnings),
        group=group,
        unit=unit,
    )


def _unit(density: Tensor, threshold: float, focus: Tensor | None, grid: Grid, group: Tensor) -> Tensor:
    """The asymmetric unit: in the mask ``focus`` where there is one, else what cuts through least of the density."""
    if focus is not None:
        return unit_within(focus, grid, group)
    direction, _ = direction_of_least_cut(torch.where(density > threshold, density, 0.0), grid, group)
    return unit_towards(direction, grid, group)


def looked_at(inputs: Inputs) -> Inputs:
    """The same inputs, after every image has been read once; their warnings have what was seen.

    Raises:
        InputError: one cannot be used.
    """
    report = Report()
    particles = inputs.particles
    check_images(report, particles.take(np.unique(particles.image, return_index=True)[1]))
    return inputs.warned(report)


def _training_box(grid: Grid, config: RunConfig) -> int:
    """The box to train in.

    Raises:
        UsageError: the one asked for is odd, or larger than the images.
    """
    box = config.train_box or min(grid.box, _LARGEST_TRAINING_BOX)
    if box > grid.box or box % 2:
        raise UsageError(
            "usage.train-box",
            "the training box cannot be made from these images",
            field="--train-box",
            expected=f"an even number up to their box of {grid.box}",
            found=box,
            fix="leave --train-box out to have it chosen",
        )
    return box


def contour(low: Tensor, config: RunConfig) -> float:
    """The contour of the molecule in a map ``(d d d)`` low-passed to R0.

    Raises:
        InputError: nothing lies above it.
    """
    threshold = placement.automatic_threshold(low) if config.threshold is None else config.threshold
    if not bool((low > threshold).any()):
        raise InputError(
            "map.empty-contour",
            f"no density lies above the contour {threshold:.4g} after low-passing to {config.shared_resolution:g} Å",
            expected=f"a threshold below {float(low.max()):.4g}",
            fix="lower --threshold, or check the contrast of the map: molecules must be white",
        )
    return threshold
