"""Simulated particle images with known motion, written as a RELION data set."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.spatial.transform import Rotation

from dynaflex import fourier
from dynaflex.errors import EnvironmentFault, UsageError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.io.mrc import write_map, write_stack
from dynaflex.io.star import StarFile, write_star
from dynaflex.shapes import Array, FloatArray, IntArray, Tensor
from dynaflex.simulate.fourier_sum import gaussian_envelope, image_coefficients
from dynaflex.simulate.molecule import make_molecule, make_motion
from dynaflex.simulate.truth import Truth, domain_mask, mean_volume

ATOM_SIGMA = 2.0
OFFSET_SD = 4.0
VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
DEFOCUS_RANGE = (8000.0, 25000.0)
LARGEST_ASTIGMATISM = 1000.0
PARTICLES_PER_MICROGRAPH = 20
COORDINATES_AT_ONCE = 20_000_000
"""Bound on the wave factors held at a time; they take 8 bytes each."""


@dataclass(frozen=True)
class _Optics:
    """Per particle: the index of its micrograph, and that micrograph's defocus in Å and angle in degrees."""

    micrograph: IntArray
    defocus_u: Array
    defocus_v: Array
    defocus_angle: Array


def simulate(
    out: Path,
    particles: int = 5000,
    box: int = 64,
    pixel_size: float = 3.0,
    snr: float = 0.1,
    motion: str = "hinge",
    seed: int = 0,
) -> Truth:
    """Write ``particles`` images of a flexible molecule into the folder ``out``, and the truth about them.

    ``particles.star`` (RELION 3.1) and ``particles.mrcs`` (images in noise standard deviations), ``consensus.mrc`` (the
    average over all conformations, on the grey scale of the images), ``mask.mrc`` (soft, around all conformations) and
    ``truth.npz``. Equal arguments give equal bytes.

    ``snr`` is the variance of the CTF-modulated noise-free images over the whole image divided by the variance of the
    noise. ``inf`` leaves the noise out. At 0 the images are noise only: nothing of the molecule is in them, though the
    table, the consensus and the truth are those of one.

    Raises UsageError for impossible arguments and EnvironmentFault where ``out`` cannot be written.
    """
    _check(particles, box, pixel_size, snr)
    grid = Grid(box, pixel_size)
    molecule = make_molecule(grid.width, seed)
    kind = make_motion(motion, molecule)
    random, noise = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    # Whatever is written to the table with so many digits is simulated with those digits.
    euler = np.round(_random_euler(particles, random), 6)
    origin = np.round(random.normal(0.0, OFFSET_SD, (particles, 2)), 6)
    optics = _random_optics(particles, random)
    half = random.permutation(np.arange(particles) % 2 + 1)
    coordinate = kind.sample(particles, random)

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            images = np.memmap(Path(scratch) / "images", np.float32, "w+", shape=(particles, box, box))
            truth = Truth(
                molecule.points, molecule.domain, kind, coordinate, np.deg2rad(euler), -origin, ATOM_SIGMA, 1.0, grid, snr, seed
            )
            amplitude = _fill(images, truth, _ctf_params(optics), noise)
            write_stack(out / "particles.mrcs", images, pixel_size)
            del images
    except OSError as error:
        raise EnvironmentFault(
            "simulate.not-writable", "cannot write here", file=out, found=error.strerror, fix="choose another folder"
        ) from error
    truth = _with_amplitude(truth, amplitude)
    write_star(StarFile(out / "particles.star", _tables(grid, euler, origin, optics, half)), out / "particles.star")
    write_map(out / "consensus.mrc", mean_volume(truth, grid).numpy(), pixel_size)
    write_map(out / "mask.mrc", domain_mask(truth, None, grid).numpy(), pixel_size)
    truth.save(out / "truth.npz")
    return truth
