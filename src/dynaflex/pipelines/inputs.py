"""What a run is made from, read and compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dynaflex import fourier
from dynaflex.data import preprocess
from dynaflex.data.halves import held_out
from dynaflex.data.particles import Particles, read_particles
from dynaflex.data.preflight import check_inputs
from dynaflex.density import placement
from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.half import Imaging
from dynaflex.pipelines.input_paths import InputPaths as InputPaths
from dynaflex.reconstruct.postprocess import soft_mask
from dynaflex.shapes import BoolArray, Tensor

_LARGEST_TRAINING_BOX = 128
_MASK_EDGE = 20.0


@dataclass(frozen=True)
class Inputs:
    """Everything that both halves are built from; nothing in it depends on an image.

    ``mask`` ``(d d d)`` is soft and serves the FSC and the placement, ``given_mask`` is the one the user gave;
    ``consensus`` holds the map that each half starts from, to be low-passed to R0, and under 0 the one
    that both have in common; ``threshold`` is the contour of the molecule in it at R0, ``origin`` what its header says.
    """

    paths: InputPaths
    particles: Particles
    held_out: BoolArray
    mask: Tensor
    given_mask: Tensor | None
    consensus: dict[int, Tensor]
    origin: tuple[float, float, float]
    threshold: float
    imaging: Imaging
    full_imaging: Imaging
    independent_starts: bool

    def members(self, half: int) -> BoolArray:
        """Which particles a half holds, ``(p)``; half 0 holds all."""
        return self.particles.half == half if half else np.ones(len(self.particles), dtype=bool)


def read_inputs(paths: InputPaths, config: RunConfig, *, read_images: bool = False) -> Inputs:
    """Read and compare all inputs; with ``read_images`` every image is looked at, rather than when its turn comes.

    Raises:
        InputError: something is missing or does not fit.
    """
    check_inputs(
        paths.particles, paths.consensus, paths.mask, paths.datadir, read_images, config.seed, config.class_number
    ).raise_first()
    reference = read_map(paths.consensus)
    particles = read_particles(
        paths.particles,
        paths.datadir,
        config.seed,
        class_number=config.class_number,
        grid=None if reference.pixel_size is None else Grid(reference.box, reference.pixel_size),
    )
    grid = particles.grid
    volumes = [reference, reference]
    if paths.half_maps is not None:
        for path in paths.half_maps:
            check_inputs(paths.particles, path, datadir=paths.datadir, class_number=config.class_number).raise_first()
        volumes = [read_map(path) for path in paths.half_maps]
    given = None if paths.mask is None else torch.from_numpy(read_map(paths.mask).data)
    low = fourier.low_pass(torch.from_numpy(reference.data), grid, config.shared_resolution)
    threshold = contour(low if given is None else low * given, config)
    mask = soft_mask(low, grid, threshold) if given is None else given
    diameter = config.particle_diameter or preprocess.particle_diameter(grid, mask)
    train_box = _training_box(grid, config)
    sign = -1.0 if config.invert_contrast else 1.0
    edge = min(_MASK_EDGE, 0.5 * max(grid.width - diameter, 4.0 * grid.pixel_size))
    return Inputs(
        paths=paths,
        particles=particles,
        held_out=held_out(particles.rows, particles.half, config.held_out_fraction, config.seed),
        mask=mask,
        given_mask=given,
        consensus={half: torch.from_numpy(volume.data) for half, volume in enumerate((reference, *volumes))},
        origin=reference.origin,
        threshold=threshold,
        imaging=Imaging(grid.cropped(train_box), diameter, edge, sign),
        full_imaging=Imaging(grid, diameter, edge, sign),
        independent_starts=paths.half_maps is not None,
    )


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
