"""Rows P of the list that files alone can tell: angles, shifts and the CTF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cryosparc_files import records, write_cs
from dynaflex.data.particles import read_particles
from faults.harness import Command, Fault, Toy, prove

REFINED = "3D refinement (run_data.star)"
PIXEL = 6.0


def changed(change: Callable[[Any], Any], block: str = "particles") -> Callable[[Toy], list[object]]:
    """Check a data set after a table was changed."""

    def command(toy: Toy) -> list[object]:
        toy.change(change, block)
        return toy.check()

    return command


def dropped(*names: str) -> Callable[[Toy], list[object]]:
    return changed(lambda table: table.drop(columns=list(names)))


def in_pixels(table: Any, pixel: float = PIXEL) -> Any:
    """The same origins, also in pixels."""
    values = {f"rlnOrigin{axis}": table[f"rlnOrigin{axis}Angst"].astype(float) / pixel for axis in "XY"}
    return table.assign(**{name: [f"{value:.6f}" for value in column] for name, column in values.items()})


def only_pixels(table: Any) -> Any:
    return in_pixels(table).drop(columns=["rlnOriginXAngst", "rlnOriginYAngst"])


def cs_of(pixel: float) -> Callable[[Toy], list[object]]:
    """Check the same particles as cryoSPARC writes them, aligned at another pixel size than that of the images."""

    def command(toy: Toy) -> list[object]:
        path = write_cs(toy.folder / "particles.cs", records(toy.particles, pixel))
        return ["check", path, "--map", toy.map, "--mask", toy.mask]

    return command


def some_defocus_missing(table: Any) -> Any:
    table.loc[3:5, "rlnDefocusU"] = "nan"
    return table


def symmetry_copies(table: Any) -> Any:
    """Every image of the first ten once more, turned about the axis, in the half of the original."""
    again = table.iloc[:10].copy()
    again["rlnAngleRot"] = [f"{float(angle) + 180.0:.6f}" for angle in again["rlnAngleRot"]]
    return table.__class__(np.concatenate([table.to_numpy(), again.to_numpy()]), columns=table.columns, dtype=object)


FAULTS = [
    Fault("P-01", "no angle of tilt", dropped("rlnAngleTilt"), 3,
          ("column rlnAngleTilt", "found no rlnAngleTilt", REFINED)),
    Fault("P-01", "no angles", dropped("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), 3,
          ("column rlnAngleRot", "found no rlnAngleRot rlnAngleTilt rlnAnglePsi", REFINED)),
    Fault("P-02", "shifts in pixels only", changed(only_pixels), 0,
          ("particles: 120 used", "rlnOriginX and rlnOriginY are in pixels", "multiplied by 6 Å")),
    Fault("P-03", "no shifts", dropped("rlnOriginXAngst", "rlnOriginYAngst"), 3,
          ("column rlnOriginXAngst", "the position of the particle", "add both columns with 0")),
    Fault("P-04", "shifts in pixels and in Å that disagree", changed(lambda table: in_pixels(table, 5.0)), 3,
          ("column rlnOriginXAngst, row 0", "expected a pixel size of 6 Å", "5 Å would fit")),
    Fault("P-04", "shifts in pixels and in Å that agree", changed(in_pixels), 0,
          ("particles: 120 used", "nothing wrong", "shifts: up to")),
    Fault("P-06", "aligned at another pixel size", cs_of(2.5), 0,
          ("particles: 120 used", "pixels of 6 Å", "nothing wrong")),
    Fault("P-10", "no defocus", dropped("rlnDefocusU"), 3,
          ("column rlnDefocusU", "the CTF needs this column", "add the column")),
    Fault("P-10", "no defocus in some rows", changed(some_defocus_missing), 0,
          ("3 of 120 particles excluded, first row 3", "defocus u", "particles: 117 used")),
    Fault("P-12", "a small phase shift", changed(lambda table: table.assign(rlnPhaseShift="5")), 0,
          ("particles: 120 used", "group 1 with", "pixels of 6 Å")),
    Fault("P-13", "anisotropic magnification", changed(lambda table: table.assign(rlnMagMat00="1.02"), "optics"), 0,
          ("anisotropic magnification", "rlnMagMat", "2 % is taken out of the images")),
    Fault("P-14", "images said to be multiplied by their CTF",
          changed(lambda table: table.assign(rlnCtfDataAreCtfPremultiplied="1"), "optics"), 3,
          ("undone as they are read", "CTF not in the images", "give rlnCtfDataAreCtfPremultiplied 0")),
    Fault("P-14", "images said to be phase-flipped",
          changed(lambda table: table.assign(rlnCtfDataArePhaseFlipped="1"), "optics"), 3,
          ("undone as they are read", "images phase-flipped", "correct rlnCtfDataArePhaseFlipped")),
    Fault("P-16", "amplitude contrast in per cent",
          changed(lambda table: table.assign(rlnAmplitudeContrast="7"), "optics"), 3,
          ("column rlnAmplitudeContrast", "expected 0 to 0.9999", "found 7")),
    Fault("P-16", "no amplitude contrast",
          changed(lambda table: table.assign(rlnAmplitudeContrast="0"), "optics"), 0,
          ("warning", "rlnAmplitudeContrast is 0", "0.07 to 0.1")),
    Fault("P-17", "volts", changed(lambda table: table.assign(rlnVoltage="300000"), "optics"), 3,
          ("column rlnVoltage", "expected 10 to 3000 kV", "found 300000")),
    Fault("P-17", "a spherical aberration in µm",
          changed(lambda table: table.assign(rlnSphericalAberration="2700"), "optics"), 3,
          ("column rlnSphericalAberration", "expected -1 to 50 mm", "divide it by 1000")),
    Fault("P-18", "copies by symmetry", changed(symmetry_copies), 0,
          ("particles: 130 used", "10 particles show an image that is listed before", "warning")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_P_06_shifts_are_in_pixels_of_the_alignment(toy: Toy) -> None:
    path = write_cs(toy.folder / "particles.cs", records(toy.particles, 2.5))
    ours, other = read_particles(path).pose.shift.numpy(), read_particles(toy.particles).pose.shift.numpy()
    np.testing.assert_allclose(ours, other, atol=1e-5)
    assert np.abs(other).max() > 1.0


def test_P_12_phase_shifts_are_degrees_in_relion_and_radians_in_cryosparc(toy: Toy) -> None:
    rows = records(toy.particles, PIXEL)
    rows["ctf/phase_shift_rad"] = np.pi / 3
    toy.change(lambda table: table.assign(rlnPhaseShift="60"))
    for path in (toy.particles, write_cs(toy.folder / "particles.cs", rows)):
        np.testing.assert_allclose(read_particles(path).ctf.phase_shift.numpy(), np.pi / 3, rtol=1e-6)
