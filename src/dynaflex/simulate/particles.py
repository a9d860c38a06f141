"""Simulated particle images with known motion, written as a RELION data set."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
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

    clean = Truth(
        molecule.points, molecule.domain, kind, coordinate, np.deg2rad(euler), -origin, ATOM_SIGMA, 1.0, grid, snr, seed
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            images = np.memmap(Path(scratch) / "images", np.float32, "w+", shape=(particles, box, box))
            variance = _draw(images, clean, _ctf_params(optics))
            amplitude = _add_noise(images, variance, snr, noise)
            write_stack(out / "particles.mrcs", images, pixel_size)
            del images
    except OSError as error:
        raise EnvironmentFault(
            "simulate.not-writable", "cannot write here", file=out, found=error.strerror, fix="choose another folder"
        ) from error
    truth = replace(clean, amplitude=amplitude)
    write_star(StarFile(out / "particles.star", _tables(grid, euler, origin, optics, half)), out / "particles.star")
    write_map(out / "consensus.mrc", mean_volume(truth, grid).numpy(), pixel_size)
    write_map(out / "mask.mrc", domain_mask(truth, None, grid).numpy(), pixel_size)
    truth.save(out / "truth.npz")
    return truth


def _check(particles: int, box: int, pixel_size: float, snr: float) -> None:
    """Refuse what cannot be simulated."""
    wrong = (
        ("particles", particles >= 2, "at least 2, one per half-set", particles),
        ("box", box >= 16 and box % 2 == 0, "an even number of at least 16 pixels", box),
        ("pixel size", pixel_size > 0.0 and math.isfinite(pixel_size), "a positive number of Å", pixel_size),
        ("snr", snr >= 0.0, "0 or a positive number, or inf", snr),
    )
    for field, fine, expected, found in wrong:
        if not fine:
            raise UsageError(
                "simulate.bad-option", "this cannot be simulated", field=field, expected=expected, found=found
            )


def _random_euler(n: int, random: np.random.Generator) -> Array:
    """(rot, tilt, psi) in degrees, uniform over all orientations, ``(n 3)``."""
    rot, psi = random.uniform(-180.0, 180.0, (2, n))
    tilt = np.degrees(np.arccos(random.uniform(-1.0, 1.0, n)))
    return np.stack([rot, tilt, psi], axis=1)


def _random_optics(n: int, random: np.random.Generator) -> _Optics:
    """Astigmatic defocus, one for every 20 particles, within 0.8 to 2.5 micrometres in both directions."""
    micrograph = np.arange(n) // PARTICLES_PER_MICROGRAPH
    m = int(micrograph[-1]) + 1
    astigmatism = random.uniform(0.0, LARGEST_ASTIGMATISM, m)
    low, high = DEFOCUS_RANGE[0] + astigmatism / 2.0, DEFOCUS_RANGE[1] - astigmatism / 2.0
    mean, angle = random.uniform(low, high), random.uniform(0.0, 180.0, m)
    u, v = np.round(mean + astigmatism / 2.0, 2), np.round(mean - astigmatism / 2.0, 2)
    return _Optics(micrograph, u[micrograph], v[micrograph], np.round(angle, 4)[micrograph])


def _ctf_params(optics: _Optics) -> CtfParams:
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
        scale=every(1.0),
        beam_tilt=torch.zeros(n, 2, dtype=torch.float64),
        odd_zernike=torch.zeros(n, 0, dtype=torch.float64),
        even_zernike=torch.zeros(n, 0, dtype=torch.float64),
    )


def _draw(images: FloatArray, truth: Truth, ctf: CtfParams) -> float:
    """Fill ``images`` ``(p h h)`` with noise-free, CTF-modulated images; their mean variance."""
    grid = truth.grid
    envelope = gaussian_envelope(grid, 2, truth.sigma)
    rotation = Rotation.from_euler("ZYZ", truth.euler).as_matrix().transpose(0, 2, 1)
    batch = max(1, COORDINATES_AT_ONCE // (len(truth.points) * 2 * grid.box))
    variance = 0.0
    for rows in _batches(len(images), batch):
        atoms = truth.motion.displace(truth.points, truth.domain, truth.coordinate[rows])
        projected = atoms @ rotation[rows, :2].transpose(0, 2, 1) + truth.shift[rows, None]
        coefficients = image_coefficients(torch.from_numpy(projected), grid)
        modulation = envelope * transfer_function(ctf[torch.arange(rows.start, rows.stop)], grid)
        images[rows] = fourier.inverse_transform(coefficients * modulation, 2).numpy()
        variance += float(images[rows].var(axis=(1, 2), dtype=np.float64).sum())
    return variance / len(images)


def _add_noise(images: FloatArray, variance: float, snr: float, random: np.random.Generator) -> float:
    """Scale ``images`` in place to the asked ``snr`` and add noise of unit variance.

    Returns the amplitude of an atom on the new grey scale: 1 where signal or noise is left out.
    """
    if math.isinf(snr):
        return 1.0
    amplitude = math.sqrt(snr / variance)
    for rows in _batches(len(images), 256):
        images[rows] *= np.float32(amplitude)
        images[rows] += random.standard_normal(images[rows].shape, dtype=np.float32)
    return amplitude if amplitude > 0.0 else 1.0


def _batches(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _tables(grid: Grid, euler: Array, origin: Array, optics: _Optics, half: IntArray) -> dict[str, pd.DataFrame]:
    """The blocks of a RELION 3.1 STAR file."""
    group = {
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
    particles = {
        "rlnImageName": [f"{i:06d}@particles.mrcs" for i in range(1, len(euler) + 1)],
        "rlnMicrographName": [f"micrographs/mic_{i:05d}.mrc" for i in optics.micrograph + 1],
        "rlnOpticsGroup": ["1"] * len(euler),
        "rlnAngleRot": _decimals(euler[:, 0], 6),
        "rlnAngleTilt": _decimals(euler[:, 1], 6),
        "rlnAnglePsi": _decimals(euler[:, 2], 6),
        "rlnOriginXAngst": _decimals(origin[:, 0], 6),
        "rlnOriginYAngst": _decimals(origin[:, 1], 6),
        "rlnDefocusU": _decimals(optics.defocus_u, 2),
        "rlnDefocusV": _decimals(optics.defocus_v, 2),
        "rlnDefocusAngle": _decimals(optics.defocus_angle, 4),
        "rlnRandomSubset": [str(i) for i in half],
    }
    return {"optics": pd.DataFrame([group], dtype=object), "particles": pd.DataFrame(particles, dtype=object)}


def _decimals(values: Array, digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]
