"""Particles in tomograms, each seen in the images of a tilt series, written as RELION 5 has them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from dynaflex.grid import Grid
from dynaflex.io.mrc import write_stack
from dynaflex.io.star import StarFile, write_star
from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray
from dynaflex.simulation.microscope import (
    AMPLITUDE_CONTRAST,
    CS_MM,
    OFFSET_SD,
    VOLTAGE_KV,
    Acquisition,
    Optics,
    decimals,
    optics_group,
    random_euler,
)

PARTICLES_PER_TOMOGRAM = 50
HALF_RANGE = 60.0
TOTAL_DOSE = 100.0
HIDDEN = 0.05
"""The part of the images that the specimen's own tilts hide: something lies before the particle."""
_AXIS, _AXIS_SD, _SHIFT_SD = 84.0, 0.3, 30.0
_DEFOCUS, _DEFOCUS_SD, _ASTIGMATISM = (15000.0, 35000.0), 150.0, 400.0
_EXTENT = (3000.0, 3000.0, 600.0)
_HAND = -1
_ANGLES = ("Rot", "Tilt", "Psi")


@dataclass(frozen=True)
class TiltedParticles:
    """p particles in t tomograms of f tilts.

    Of each, the ``tomogram`` ``(p)``, ``place`` and ``origin`` ``(p 3)`` in Å, ``before`` and ``euler`` ``(p 3)`` in
    degrees, how it was turned where it was picked, and beside that; where it is ``visible`` ``(p f)``, its ``half``.
    ``turns`` ``(t f 3)`` are about x, y and z in degrees, ``shift`` ``(t f 2)`` in Å, ``defocus`` ``(t f 3)`` is U, V
    and their angle, ``dose`` ``(f)`` in electrons per Å² and ``scale`` ``(f)`` the cosine of the tilt.
    """

    tomogram: IntArray
    place: Array
    origin: Array
    before: Array
    euler: Array
    visible: BoolArray
    half: IntArray
    turns: Array
    shift: Array
    defocus: Array
    dose: Array
    scale: Array

    @property
    def of(self) -> IntArray:
        """The particle that each image ``(i)`` shows: all of one particle, then those of the next."""
        return np.nonzero(self.visible)[0]

    def acquisition(self) -> Acquisition:
        """How each of the images was taken; all of contrast 1, in even ice."""
        of, tilt = np.nonzero(self.visible)
        tomogram = self.tomogram[of]
        turn = Rotation.from_euler("xyz", self.turns[tomogram, tilt], degrees=True).as_matrix()
        before, part = (_matrices(angles)[of] for angles in (self.before, self.euler))
        origin = (before @ self.origin[of][..., None])[..., 0]
        depth = (turn @ (self.place[of] - origin)[..., None])[:, 2, 0]
        u, v, angle = self.defocus[tomogram, tilt].T
        euler = Rotation.from_matrix(turn @ before @ part).inv().as_euler("ZYZ", degrees=True)
        optics = Optics(tomogram, u + _HAND * depth, v + _HAND * depth, angle, self.dose[tilt], self.scale[tilt])
        flat = (turn @ origin[..., None])[:, :2, 0]
        return Acquisition(euler, flat, optics, self.half[of], np.ones(len(of)), np.zeros((len(of), 2)))


def draw_tilts(particles: int, tilts: int, random: np.random.Generator) -> TiltedParticles:
    """Uniform orientations in as many tomograms as are needed, tilted in the order of a dose-symmetric scheme.

    Whatever is written to a table with so many digits is drawn with those digits.
    """
    tomogram = np.arange(particles) // PARTICLES_PER_TOMOGRAM
    t = int(tomogram[-1]) + 1
    angle: Array = np.linspace(-HALF_RANGE, HALF_RANGE, tilts, dtype=np.float64) if tilts > 1 else np.zeros(1)
    order = np.argsort(np.argsort(np.abs(angle), kind="stable"))
    turns = np.zeros((t, tilts, 3))
    turns[..., 1] = np.round(angle, 6)
    turns[..., 2] = np.round(random.normal(_AXIS, _AXIS_SD, (t, 1)), 6)
    mean = random.uniform(*_DEFOCUS, (t, 1)) + random.normal(0.0, _DEFOCUS_SD, (t, tilts))
    azimuth = random.uniform(0.0, 180.0, (t, tilts))
    defocus = np.stack([mean + 0.5 * _ASTIGMATISM, mean - 0.5 * _ASTIGMATISM, azimuth], axis=-1)
    visible = random.random((particles, tilts)) >= HIDDEN
    visible[:, np.abs(angle).argmin()] = True
    return TiltedParticles(
        tomogram=tomogram,
        place=np.round(random.uniform(-0.5, 0.5, (particles, 3)) * _EXTENT, 6),
        origin=np.round(random.normal(0.0, OFFSET_SD, (particles, 3)), 6),
        before=np.round(random_euler(particles, random), 6),
        euler=np.round(random_euler(particles, random), 6),
        visible=visible,
        half=random.permutation(np.arange(particles) % 2 + 1),
        turns=turns,
        shift=np.round(random.normal(0.0, _SHIFT_SD, (t, tilts, 2)), 6),
        defocus=np.round(defocus, 2),
        dose=np.round(order * TOTAL_DOSE / tilts, 6),
        scale=np.asarray(np.round(np.cos(np.deg2rad(angle)), 6), dtype=np.float64),
    )


def write_tilt_stacks(out: Path, grid: Grid, taken: TiltedParticles, images: FloatArray) -> None:
    """Write the ``images`` ``(i h h)`` as a stack for each particle."""
    bounds = np.append(0, taken.visible.sum(axis=1).cumsum())
    for particle, (start, end) in enumerate(pairwise(bounds)):
        path = out / _stack(taken, particle)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stack(path, images[start:end], grid.pixel_size)


def write_tilt_tables(out: Path, grid: Grid, taken: TiltedParticles) -> None:
    """Write ``optimisation_set.star``, ``particles.star``, ``tomograms.star`` and a table for each tilt series."""
    (out / "tilt_series").mkdir(exist_ok=True)
    for tomogram in range(len(taken.turns)):
        name = _tomogram(tomogram)
        _write(out / _series(tomogram), {name: _tilts(taken, tomogram)})
    _write(out / "tomograms.star", {"global": _tomograms(grid, len(taken.turns))})
    group = optics_group(grid) | {
        "rlnTomoTiltSeriesPixelSize": f"{grid.pixel_size:.6f}", "rlnTomoSubtomogramBinning": "1.000000",
    }  # fmt: skip
    general = pd.DataFrame([{"rlnTomoSubTomosAre2DStacks": "1"}], dtype=object)
    blocks = {"general": general, "optics": pd.DataFrame([group], dtype=object), "particles": _particles(taken)}
    _write(out / "particles.star", blocks, "general")
    files = {"rlnTomoParticlesFile": "particles.star", "rlnTomoTomogramsFile": "tomograms.star"}
    _write(out / "optimisation_set.star", {"": pd.DataFrame([files], dtype=object)}, "")


def _particles(taken: TiltedParticles) -> pd.DataFrame:
    count = range(len(taken.tomogram))
    numbers = {
        "rlnCenteredCoordinate{}Angst": ("XYZ", taken.place), "rlnOrigin{}Angst": ("XYZ", taken.origin),
        "rlnTomoSubtomogram{}": (_ANGLES, taken.before), "rlnAngle{}": (_ANGLES, taken.euler),
    }  # fmt: skip
    return pd.DataFrame({
        "rlnTomoName": [_tomogram(t) for t in taken.tomogram],
        "rlnTomoParticleName": [f"{_tomogram(taken.tomogram[i])}/{i + 1}" for i in count],
        "rlnImageName": [str(_stack(taken, i)) for i in count],
        "rlnTomoVisibleFrames": [f"[{','.join(str(int(seen)) for seen in row)}]" for row in taken.visible],
        "rlnOpticsGroup": "1",
        **{label.format(part): decimals(values[:, i], 6)
           for label, (parts, values) in numbers.items() for i, part in enumerate(parts)},
        "rlnRandomSubset": [str(half) for half in taken.half],
    }, dtype=object)  # fmt: skip


def _tilts(taken: TiltedParticles, tomogram: int) -> pd.DataFrame:
    turns, shift, defocus = taken.turns[tomogram], taken.shift[tomogram], taken.defocus[tomogram]
    return pd.DataFrame({
        "rlnMicrographName": [f"tilt_series/{_tomogram(tomogram)}_{f + 1:03d}.mrc" for f in range(len(turns))],
        "rlnTomoNominalStageTiltAngle": decimals(turns[:, 1], 6),
        **{f"rlnTomo{name}": decimals(turns[:, i], 6) for i, name in enumerate(("XTilt", "YTilt", "ZRot"))},
        **{f"rlnTomo{name}ShiftAngst": decimals(shift[:, i], 6) for i, name in enumerate("XY")},
        **{f"rlnDefocus{name}": decimals(defocus[:, i], 2) for i, name in enumerate(("U", "V", "Angle"))},
        "rlnCtfScalefactor": decimals(taken.scale, 6),
        "rlnMicrographPreExposure": decimals(taken.dose, 6),
    }, dtype=object)  # fmt: skip


def _tomograms(grid: Grid, count: int) -> pd.DataFrame:
    size = (round(extent / grid.pixel_size) // 2 * 2 + 512 for extent in _EXTENT)
    return pd.DataFrame({
        "rlnTomoName": [_tomogram(t) for t in range(count)],
        "rlnTomoTiltSeriesStarFile": [str(_series(t)) for t in range(count)],
        "rlnVoltage": f"{VOLTAGE_KV:.6f}",
        "rlnSphericalAberration": f"{CS_MM:.6f}",
        "rlnAmplitudeContrast": f"{AMPLITUDE_CONTRAST:.6f}",
        "rlnMicrographOriginalPixelSize": f"{grid.pixel_size:.6f}",
        "rlnTomoTiltSeriesPixelSize": f"{grid.pixel_size:.6f}",
        "rlnTomoHand": f"{_HAND:.6f}",
        "rlnOpticsGroupName": "opticsGroup1",
        **{f"rlnTomoSize{axis}": str(pixels) for axis, pixels in zip("XYZ", size, strict=True)},
    }, dtype=object)  # fmt: skip


def _matrices(euler: Array) -> Array:
    """RELION's matrices ``(p 3 3)`` of angles in degrees ``(p 3)``."""
    return np.asarray(Rotation.from_euler("ZYZ", euler, degrees=True).inv().as_matrix())


def _tomogram(number: int) -> str:
    return f"TS_{number + 1:03d}"


def _series(tomogram: int) -> Path:
    return Path("tilt_series") / f"{_tomogram(tomogram)}.star"


def _stack(taken: TiltedParticles, particle: int) -> Path:
    return Path("Subtomograms") / _tomogram(int(taken.tomogram[particle])) / f"{particle + 1}_stack2d.mrcs"


def _write(path: Path, blocks: dict[str, pd.DataFrame], *lists: str) -> None:
    write_star(StarFile(path, blocks, lists=frozenset(lists)), path)
