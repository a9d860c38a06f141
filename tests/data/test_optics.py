"""The constants of microscopes: what occurs is taken, another unit is refused with the factor that is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cryosparc_files import records, write_cs
from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import transfer_function

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rlnSphericalAberration", "0.0"),  # corrected
        ("rlnSphericalAberration", "0.01"),
        ("rlnSphericalAberration", "0.001"),
        ("rlnSphericalAberration", "-0.013"),  # corrected to the other side
        ("rlnSphericalAberration", "4.1"),
        ("rlnAmplitudeContrast", "0.0"),
        ("rlnAmplitudeContrast", "0.07"),
        ("rlnAmplitudeContrast", "0.25"),  # negative stain
        ("rlnVoltage", "100"),
        ("rlnVoltage", "1000"),
    ],
)
def test_microscopes_that_exist_are_taken(blocks: Blocks, save: Save, column: str, value: str) -> None:
    blocks["optics"][column] = [value, value]
    particles = read_particles(save(blocks))
    assert len(particles) == 12 and particles.excluded == ()
    transfer = transfer_function(particles.ctf, Grid(16, 2.0))
    assert bool(torch.isfinite(transfer).all()) and float(transfer.abs().max()) > 0.5


@pytest.mark.parametrize(
    ("column", "value", "remedy"),
    [
        ("rlnVoltage", "300000", "divide it by 1000"),
        ("rlnVoltage", "0.3", "correct it"),
        ("rlnAmplitudeContrast", "7", "divide it by 100"),
        ("rlnSphericalAberration", "2700", "divide it by 1000"),
        ("rlnAmplitudeContrast", "-0.1", "correct it"),
    ],
)
def test_other_units_are_refused_with_their_factor(
    blocks: Blocks, save: Save, column: str, value: str, remedy: str
) -> None:
    blocks["optics"][column] = [blocks["optics"][column][0], value]
    with pytest.raises(InputError) as caught:
        read_particles(save(blocks))
    error = caught.value
    assert (error.identifier, error.field, error.row) == ("particles.out-of-range", column, 1)
    assert str(error.fix).startswith(remedy)


@pytest.mark.parametrize("cs_mm", [0.001, 0.01, -0.02])
def test_a_beam_tilt_of_a_corrected_microscope_is_the_same_phase(blocks: Blocks, save: Save, cs_mm: float) -> None:
    """cryoSPARC gives the aberration in Å, RELION the tilt that makes it with the Cs: large where that is small."""
    star = save(blocks)
    (star.parents[2] / "J1").mkdir()
    rows, phases = records(star, 2.0), []
    rows["ctf/tilt_A"][:] = (900.0, -400.0)
    for cs in (2.7, cs_mm):
        rows["ctf/cs_mm"] = cs
        particles = read_particles(write_cs(star.parents[2] / "J1/p.cs", rows))
        assert particles.excluded == ()
        phases.append(particles.ctf.cs_mm[:, None] * particles.ctf.beam_tilt)
    torch.testing.assert_close(*phases, rtol=1e-5, atol=0.0)


def test_without_any_cs_a_beam_tilt_is_refused_where_it_matters(blocks: Blocks, save: Save) -> None:
    star = save(blocks)
    (star.parents[2] / "J1").mkdir()
    rows = records(star, 2.0)
    rows["ctf/cs_mm"] = 0.0
    rows["ctf/tilt_A"][:] = (1.0, -0.5)
    assert not read_particles(write_cs(star.parents[2] / "J1/p.cs", rows)).ctf.beam_tilt.any()
    rows["ctf/tilt_A"][4] = (9000.0, 0.0)
    with pytest.raises(InputError) as caught:
        read_particles(write_cs(star.parents[2] / "J1/p.cs", rows))
    assert (caught.value.identifier, caught.value.field, caught.value.row) == ("cs.aberration", "ctf/tilt_A", 4)


def test_images_cannot_have_been_flipped_and_multiplied(blocks: Blocks, save: Save) -> None:
    blocks["optics"] |= {"rlnCtfDataAreCtfPremultiplied": ["0", "1"], "rlnCtfDataArePhaseFlipped": ["1", "0"]}
    assert sum("undone" in warning for warning in read_particles(save(blocks)).warnings) == 2
    blocks["optics"]["rlnCtfDataArePhaseFlipped"] = ["0", "1"]
    with pytest.raises(InputError) as refusal:
        read_particles(save(blocks))
    assert refusal.value.identifier == "particles.corrected"


def test_a_magnification_that_is_no_number_leaves_a_particle_out(blocks: Blocks, save: Save) -> None:
    blocks["particles"]["rlnMagMat01"] = ["nan"] + ["0"] * 11
    (excluded,) = read_particles(save(blocks)).excluded
    assert excluded.row == 0 and "magnification" in excluded.reason
