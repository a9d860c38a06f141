"""Images of moving atoms as a microscope takes them, written as the particles of a RELION data set."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.spatial.transform import Rotation

from dynaflex import fourier, tell
from dynaflex.errors import EnvironmentFault
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.io.mrc import write_stack
from dynaflex.io.star import StarFile, write_star
from dynaflex.shapes import Array, FloatArray, IntArray, Tensor
from dynaflex.simulation.fourier_sum import gaussian_envelope, image_coefficients

OFFSET_SD = 4.0
VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
DEFOCUS_RANGE = (8000.0, 25000.0)
LARGEST_ASTIGMATISM = 1000.0
PARTICLES_PER_MICROGRAPH = 20
COORDINATES_AT_ONCE = 8_000_000
"""Bound on the wave factors held at a time; they take 8 bytes each."""


@dataclass(frozen=True)
class Optics:
    """Per image: the index of its micrograph, the defocus in Å and its angle in degrees, the dose that the specimen had
    before, in electrons per Å², and the ``scale`` of the CTF."""

    micrograph: IntArray
    defocus_u: Array
    defocus_v: Array
    defocus_angle: Array
    dose: Array
    scale: Array


@dataclass(frozen=True)
class Acquisition:
    """How p images were taken, of as many particles or of tilt series: RELION's ``euler`` (rot, tilt, psi) in degrees
    ``(p 3)`` and ``origin`` in Å ``(p 2)``, the ``optics``, the ``half`` ``(p)`` of each, 1 or 2, the ``contrast``
    ``(p)``: thin ice above 1, and the ``ramp`` ``(p 2)`` of its ice: the rise over the width of the image along x and
    y, in noise standard deviations."""

    euler: Array
    origin: Array
    optics: Optics
    half: IntArray
    contrast: Array
    ramp: Array


@dataclass(frozen=True)
class Atoms:
    """What is imaged: atoms of ``weights`` ``(n)``, Gaussians of standard deviation ``sigma`` Å, and where they are.

    ``positions`` takes a slice of the particles to the positions ``(b n 3)`` of their atoms in Å, origin at the box
    centre, in the frame of the map.
    """

    positions: Callable[[slice], Array]
    weights: Array
    sigma: float


def draw_acquisition(particles: int, random: np.random.Generator) -> Acquisition:
    """Uniform orientations, normal offsets, random defocus and balanced random halves; all of contrast 1, in even ice.

    Whatever is written to the table with so many digits is drawn with those digits.
    """
    euler = np.round(random_euler(particles, random), 6)
    origin = np.round(random.normal(0.0, OFFSET_SD, (particles, 2)), 6)
    optics = _random_optics(particles, random)
    half = random.permutation(np.arange(particles) % 2 + 1)
    return Acquisition(euler, origin, optics, half, np.ones(particles), np.zeros((particles, 2)))


def in_uneven_ice(acquisition: Acquisition, contrast_spread: float, ramp_spread: float, seed: int) -> Acquisition:
    """The same particles in ice of varying thickness.

    ``contrast_spread`` is the standard deviation of the logarithm of the contrast, whose mean stays 1, and
    ``ramp_spread`` that of how much images rise over their width, along x and along y, in noise standard deviations.
    """
    ice, slopes = (np.random.default_rng([seed, stream]) for stream in (3, 4))
    particles = len(acquisition.contrast)
    log_contrast = contrast_spread * ice.normal(size=particles) - 0.5 * contrast_spread**2
    ramp = ramp_spread * slopes.normal(size=(particles, 2))
    return replace(acquisition, contrast=np.exp(log_contrast), ramp=ramp)


def write_particles(
    out: Path, grid: Grid, atoms: Atoms, acquisition: Acquisition, snr: float, noise: np.random.Generator
) -> float:
    """Write ``particles.star`` and ``particles.mrcs`` into the folder ``out``; as :func:`take_images`."""

    def write(images: FloatArray) -> None:
        write_stack(out / "particles.mrcs", images, grid.pixel_size)

    amplitude = take_images(out, grid, atoms, acquisition, snr, noise, write)
    write_star(StarFile(out / "particles.star", _tables(grid, acquisition)), out / "particles.star")
    return amplitude


def take_images(
    out: Path,
    grid: Grid,
    atoms: Atoms,
    acquisition: Acquisition,
    snr: float,
    noise: np.random.Generator,
    write: Callable[[FloatArray], None],
) -> float:
    """Make the images ``(p h h)`` and ``write`` them into the folder ``out``, which is made where it is missing.

    The images are in noise standard deviations, but for an ``snr`` of ``inf``, which leaves the noise out. Returns the
    amplitude of an atom of weight 1 on their grey scale: 1 where signal or noise is left out.

    Raises EnvironmentFault ``simulate.not-writable`` where ``out`` cannot be written.
    """
    count = len(acquisition.euler)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            images = np.memmap(Path(scratch) / "images", np.float32, "w+", shape=(count, grid.box, grid.box))
            variance = _draw(images, grid, atoms, acquisition)
            amplitude = _add_noise(images, variance, snr, noise)
            _add_ramps(images, grid, acquisition.ramp)
            write(images)
            del images
    except OSError as error:
        raise EnvironmentFault(
            "simulate.not-writable", "cannot write here", file=out, found=error.strerror, fix="choose another folder"
        ) from error
    return amplitude


def random_euler(n: int, random: np.random.Generator) -> Array:
    """(rot, tilt, psi) in degrees, uniform over all orientations, ``(n 3)``."""
    rot, psi = random.uniform(-180.0, 180.0, (2, n))
    tilt = np.degrees(np.arccos(random.uniform(-1.0, 1.0, n)))
    return np.stack([rot, tilt, psi], axis=1)


def _random_optics(n: int, random: np.random.Generator) -> Optics:
    """Astigmatic defocus, one for every 20 particles, within 0.8 to 2.5 micrometres in both directions."""
    micrograph = np.arange(n) // PARTICLES_PER_MICROGRAPH
    m = int(micrograph[-1]) + 1
    astigmatism = random.uniform(0.0, LARGEST_ASTIGMATISM, m)
    low, high = DEFOCUS_RANGE[0] + astigmatism / 2.0, DEFOCUS_RANGE[1] - astigmatism / 2.0
    mean, angle = random.uniform(low, high), random.uniform(0.0, 180.0, m)
    u, v = np.round(mean + astigmatism / 2.0, 2), np.round(mean - astigmatism / 2.0, 2)
    return Optics(micrograph, u[micrograph], v[micrograph], np.round(angle, 4)[micrograph], np.zeros(n), np.ones(n))


def _ctf_params(optics: Optics) -> CtfParams:
    n = len(optics.micrograph)

    def every(value: float) -> Tensor:
        return torch.full((n,), value, dtype=torch.float64)

    return CtfParams(
        defocus_u=torch.from_numpy(optics.defocus_u),
        defocus_v=torch.from_numpy(optics.defocus_v),
        defocus_angle=torch.from_numpy(np.deg2rad(optics.defocus_angle)),
        voltage_kv=every(VOLTAGE_KV),
        cs_mm=every(CS_MM),
        amplitude_contrast=every(AMPLITUDE_CONTRAST),
        phase_shift=every(0.0),
        b_factor=every(0.0),
        scale=torch.from_numpy(optics.scale),
        dose=torch.from_numpy(optics.dose),
        beam_tilt=torch.zeros(n, 2, dtype=torch.float64),
        odd_zernike=torch.zeros(n, 0, dtype=torch.float64),
        even_zernike=torch.zeros(n, 0, dtype=torch.float64),
    )


def _draw(images: FloatArray, grid: Grid, atoms: Atoms, acquisition: Acquisition) -> float:
    """Fill ``images`` ``(p h h)`` with noise-free, CTF-modulated images; their mean variance."""
    envelope = gaussian_envelope(grid, 2, atoms.sigma)
    rotation = Rotation.from_euler("ZYZ", np.deg2rad(acquisition.euler)).as_matrix().transpose(0, 2, 1)
    weights, ctf = torch.from_numpy(atoms.weights), _ctf_params(acquisition.optics)
    batch = max(1, COORDINATES_AT_ONCE // (len(atoms.weights) * 2 * grid.box))
    variance = 0.0
    for rows in tell.each(_batches(len(images), batch), "images of the molecule"):
        projected = atoms.positions(rows) @ rotation[rows, :2].transpose(0, 2, 1) - acquisition.origin[rows, None]
        coefficients = image_coefficients(torch.from_numpy(projected), weights, grid)
        modulation = envelope * transfer_function(ctf[torch.arange(rows.start, rows.stop)], grid)
        seen = modulation * torch.from_numpy(acquisition.contrast[rows, None, None])
        images[rows] = fourier.inverse_transform(coefficients * seen, 2).numpy()
        variance += float(images[rows].var(axis=(1, 2), dtype=np.float64).sum())
    return variance / len(images)


def _add_noise(images: FloatArray, variance: float, snr: float, random: np.random.Generator) -> float:
    """Scale ``images`` in place to the asked ``snr`` and add noise of unit variance.

    Returns the amplitude of an atom on the new grey scale: 1 where signal or noise is left out.
    """
    if math.isinf(snr):
        return 1.0
    amplitude = math.sqrt(snr / variance)
    for rows in tell.each(_batches(len(images), 256), "noise"):
        images[rows] *= np.float32(amplitude)
        images[rows] += random.standard_normal(images[rows].shape, dtype=np.float32)
    return amplitude if amplitude > 0.0 else 1.0


def _add_ramps(images: FloatArray, grid: Grid, ramp: Array) -> None:
    """Add to every image of ``images`` in place a plane that is 0 at the origin."""
    axis = (grid.axis(dtype=torch.float64) / grid.width).numpy()
    for rows in _batches(len(images), 256):
        along_x, along_y = (ramp[rows, i, None, None] for i in (0, 1))
        images[rows] += (along_x * axis[None, :] + along_y * axis[:, None]).astype(np.float32)


def _batches(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _tables(grid: Grid, acquisition: Acquisition) -> dict[str, pd.DataFrame]:
    """The blocks of a RELION 3.1 STAR file."""
    euler, origin, optics = acquisition.euler, acquisition.origin, acquisition.optics
    particles = {
        "rlnImageName": [f"{i:06d}@particles.mrcs" for i in range(1, len(euler) + 1)],
        "rlnMicrographName": [f"micrographs/mic_{i:05d}.mrc" for i in optics.micrograph + 1],
        "rlnOpticsGroup": ["1"] * len(euler),
        "rlnAngleRot": decimals(euler[:, 0], 6),
        "rlnAngleTilt": decimals(euler[:, 1], 6),
        "rlnAnglePsi": decimals(euler[:, 2], 6),
        "rlnOriginXAngst": decimals(origin[:, 0], 6),
        "rlnOriginYAngst": decimals(origin[:, 1], 6),
        "rlnDefocusU": decimals(optics.defocus_u, 2),
        "rlnDefocusV": decimals(optics.defocus_v, 2),
        "rlnDefocusAngle": decimals(optics.defocus_angle, 4),
        "rlnRandomSubset": [str(i) for i in acquisition.half],
    }
    return {
        "optics": pd.DataFrame([optics_group(grid)], dtype=object),
        "particles": pd.DataFrame(particles, dtype=object),
    }


def optics_group(grid: Grid) -> dict[str, str]:
    """The one row of the optics table, by RELION's names."""
    return {
        "rlnOpticsGroupName": "opticsGroup1",
        "rlnOpticsGroup": "1",
        "rlnVoltage": f"{VOLTAGE_KV:.6f}",
        "rlnSphericalAberration": f"{CS_MM:.6f}",
        "rlnAmplitudeContrast": f"{AMPLITUDE_CONTRAST:.6f}",
        "rlnImagePixelSize": f"{grid.pixel_size:.6f}",
        "rlnImageSize": str(grid.box),
        "rlnImageDimensionality": "2",
        "rlnCtfDataAreCtfPremultiplied": "0",
    }


def decimals(values: Array, digits: int) -> list[str]:
    """Numbers as a table has them."""
    return [f"{value:.{digits}f}" for value in values]
