"""The reference for a rigid reconstruction: CTF²-weighted Fourier insertion, in plain NumPy.

It shares no code with dynaflex: the table, the stack, the CTF, the rotations and the interpolation are its own, so that
it can bear witness against the package. ``hinge.py`` compares the part of the molecule that does not move with it.
"""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import starfile
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Real = NDArray[np.float64]

PADDING = 2
WIENER = 0.1
"""The constant added to the summed CTF² weights, in units of their mean over the Fourier shell."""
IMAGES_AT_ONCE = 100


def reconstruct(star: Path, half: int | None = None) -> Real:
    """The map ``[z, y, x]`` of the particles of a RELION 3.1 table, of all or of those with this rlnRandomSubset.

    The stack named by the table lies beside it.
    """
    blocks = starfile.read(star, always_dict=True)
    optics, table = blocks["optics"].iloc[0], blocks["particles"]
    table = table if half is None else table[table["rlnRandomSubset"] == half]
    index = table["rlnImageName"].str.split("@").str[0].astype(int).to_numpy() - 1
    with mrcfile.mmap(star.parent / table["rlnImageName"].iloc[0].split("@")[1]) as stack:
        box = stack.data.shape[-1]
        padded = PADDING * box
        signal = np.zeros(padded**3, dtype=np.complex128)
        weight = np.zeros(padded**3)
        for start in range(0, len(table), IMAGES_AT_ONCE):
            rows = slice(start, start + IMAGES_AT_ONCE)
            _insert(stack.data[index[rows]], table.iloc[rows], optics, signal, weight)
    return _solve(signal.reshape((padded,) * 3), weight.reshape((padded,) * 3), box)


def ctf(table: pd.DataFrame, optics: pd.Series, kx: Real, ky: Real) -> Real:
    """The contrast transfer function at frequencies in 1/Å ``(m)``, ``(b m)``, positive at low frequency."""
    volts = float(optics["rlnVoltage"]) * 1e3
    wavelength = 12.2643247 / np.sqrt(volts * (1.0 + 0.978466e-6 * volts))
    contrast = float(optics["rlnAmplitudeContrast"])
    u, v, angle = (_column(table, f"rlnDefocus{name}") for name in ("U", "V", "Angle"))
    along = np.arctan2(ky, kx) - np.deg2rad(angle)
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2.0 * along)
    squared = kx**2 + ky**2
    aberration = 0.5 * np.pi * float(optics["rlnSphericalAberration"]) * 1e7 * wavelength**3 * squared**2
    return np.asarray(np.sin(np.pi * wavelength * defocus * squared - aberration + np.arcsin(contrast)))


def _column(table: pd.DataFrame, name: str) -> Real:
    return table[name].to_numpy(dtype=np.float64)[:, None]


def _insert(images: Real, table: pd.DataFrame, optics: pd.Series, signal: Real, weight: Real) -> None:
    """Add the images' Fourier coefficients to the padded grid, spread over the eight nearest nodes."""
    box = images.shape[-1]
    ky, kx = np.meshgrid(np.fft.fftfreq(box, 1.0 / box), np.arange(box // 2 + 1), indexing="ij")
    # One of each pair of conjugates, inside the circle where every direction is sampled.
    keep = ((kx > 0) | (ky >= 0)) & (kx**2 + ky**2 < (box / 2) ** 2)
    kx, ky = kx[keep], ky[keep]
    width = box * float(optics["rlnImagePixelSize"])
    shift = -np.concatenate([_column(table, "rlnOriginXAngst"), _column(table, "rlnOriginYAngst")], axis=1)
    transform = np.fft.rfft2(np.fft.ifftshift(images, axes=(1, 2)))[:, keep]
    transform = transform * np.exp(2j * np.pi * (shift @ np.stack([kx, ky]) / width))
    transfer = ctf(table, optics, kx / width, ky / width)

    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(dtype=np.float64)
    to_image = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
    # The slice of the volume at A^T (kx, ky, 0).
    where = PADDING * np.einsum("mk,bkx->bmx", np.stack([kx, ky], axis=1), to_image[:, :2])
    base = np.floor(where).astype(np.int64)
    fraction = where - base
    padded = PADDING * box
    for corner in np.ndindex(2, 2, 2):
        node = (base + corner) % padded
        share = np.where(corner, fraction, 1.0 - fraction).prod(axis=-1).ravel()
        flat = ((node[..., 2] * padded + node[..., 1]) * padded + node[..., 0]).ravel()
        values = (transfer * transform).ravel() * share
        signal.real += np.bincount(flat, values.real, len(weight))
        signal.imag += np.bincount(flat, values.imag, len(weight))
        weight += np.bincount(flat, (transfer**2).ravel() * share, len(weight))


def _solve(signal: Real, weight: Real, box: int) -> Real:
    """Divide by the weights, transform back, cut out the box, and undo the damping of linear interpolation."""
    signal, weight = signal + np.conj(_mirrored(signal)), weight + _mirrored(weight)
    padded = signal.shape[0]
    frequency = np.fft.fftfreq(padded, 1.0 / padded)
    radius = np.sqrt(sum(np.square(f) for f in np.meshgrid(frequency, frequency, frequency, indexing="ij")))
    shell = np.rint(radius).astype(np.int64)
    mean = np.bincount(shell.ravel(), weight.ravel()) / np.bincount(shell.ravel())
    floor = WIENER * mean[shell]
    inside = (radius < padded / 2) & (weight + floor > 0.0)
    quotient = np.divide(signal, weight + floor, out=np.zeros_like(signal), where=inside)
    volume = np.fft.fftshift(np.fft.ifftn(quotient).real)
    start = padded // 2 - box // 2
    cut = slice(start, start + box)
    damping = np.sinc((np.arange(box) - box // 2) / padded) ** 2
    return np.asarray(volume[cut, cut, cut] / damping[:, None, None] / damping[:, None] / damping)


def _mirrored(grid: Real) -> Real:
    """The value at minus the frequency."""
    return np.roll(np.flip(grid), 1, axis=(0, 1, 2))
