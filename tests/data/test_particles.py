from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.mrc import write_stack

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no experimental data in {SHARED}")


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_particles(path)
    assert caught.value.exit_code == 3
    return caught.value


def as_relion_30(blocks: Blocks) -> Blocks:
    """The same particles as RELION 3.0 would list them: one table, shifts in pixels, pixel size by magnification."""
    table = dict(blocks["particles"])
    group = [int(number) - 1 for number in table.pop("rlnOpticsGroup")]
    for name in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"):
        table[name] = [blocks["optics"][name][g] for g in group]
    for axis in "XY":
        table[f"rlnOrigin{axis}"] = [repr(float(v) / 2.0) for v in table.pop(f"rlnOrigin{axis}Angst")]
    table["rlnDetectorPixelSize"] = ["5.0"] * len(group)
    table["rlnMagnification"] = ["25000.0"] * len(group)
    return {"": table}


def test_relion_conventions(blocks: Blocks, save: Save) -> None:
    particles = read_particles(save(blocks))
    table = blocks["particles"]
    angles = np.array([table[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")], dtype=float).T
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(particles.pose.rotation.numpy(), expected, atol=1e-12)
    origin = np.array([table["rlnOriginXAngst"], table["rlnOriginYAngst"]], dtype=float).T
    np.testing.assert_array_equal(particles.pose.shift.numpy(), -origin)
    assert particles.pose.rotation.dtype == particles.pose.shift.dtype == torch.float64
    assert particles.grid == Grid(16, 2.0)
    ctf = particles.ctf
    np.testing.assert_array_equal(ctf.defocus_u.numpy(), np.array(table["rlnDefocusU"], dtype=float))
    np.testing.assert_allclose(ctf.defocus_angle.numpy(), np.deg2rad(np.array(table["rlnDefocusAngle"], dtype=float)))
    np.testing.assert_array_equal(ctf.voltage_kv.numpy(), [300, 200] * 6)
    np.testing.assert_array_equal(ctf.cs_mm.numpy(), [2.7, 1.4] * 6)
    np.testing.assert_array_equal(ctf.amplitude_contrast.numpy(), [0.1, 0.07] * 6)
    np.testing.assert_array_equal(particles.group, [1, 2] * 6)
    np.testing.assert_array_equal(particles.half, [1] * 6 + [2] * 6)
    np.testing.assert_array_equal(particles.rows, np.arange(12))
    assert all(value.dtype == torch.float64 for value in particles.ctf.terms().values())
    assert particles.excluded == () and particles.warnings == ()


def test_both_dialects_mean_the_same(blocks: Blocks, save: Save) -> None:
    new = read_particles(save(blocks))
    old = read_particles(save(as_relion_30(blocks)))
    assert old.grid == new.grid
    torch.testing.assert_close(old.pose.rotation, new.pose.rotation, rtol=0, atol=0)
    torch.testing.assert_close(old.pose.shift, new.pose.shift, rtol=1e-14, atol=0)
    for name, value in new.ctf.terms().items():
        torch.testing.assert_close(old.ctf.terms()[name], value, rtol=0, atol=0)
    assert torch.equal(old.images(np.arange(12)), new.images(np.arange(12)))


def test_optics_after_particles(blocks: Blocks, save: Save) -> None:
    first = read_particles(save(blocks))
    last = read_particles(save(dict(reversed(blocks.items()))))
    for name, value in first.ctf.terms().items():
        assert torch.equal(last.ctf.terms()[name], value)


def test_relion_defaults(blocks: Blocks, save: Save) -> None:
    for name in ("rlnDefocusV", "rlnDefocusAngle"):
        del blocks["particles"][name]
    particles = read_particles(save(blocks))
    assert torch.equal(particles.ctf.defocus_v, particles.ctf.defocus_u)
    for name, value in (("defocus_angle", 0), ("phase_shift", 0), ("b_factor", 0), ("scale", 1)):
        assert torch.equal(particles.ctf.terms()[name], torch.full((12,), value, dtype=torch.float64))
    assert not particles.ctf.beam_tilt.any() and particles.ctf.odd_zernike.shape == (12, 0)


def test_higher_order_optics(blocks: Blocks, save: Save) -> None:
    blocks["optics"] |= {
        "rlnBeamTiltX": ["0.5", "-0.25"],
        "rlnBeamTiltY": ["0.0", "1.0"],
        "rlnOddZernike": ["[0.1,0.2,0.3]", "[0.4]"],
        "rlnEvenZernike": ["[1,2]", "[3,4]"],
        "rlnMagMat00": ["1.01", "1.0"],
        "rlnMagMat01": ["0", "0"],
    }
    blocks["particles"] |= {"rlnPhaseShift": ["90"] * 12, "rlnCtfBfactor": ["50"] * 12, "rlnVoltage": ["100"] * 12}
    particles = read_particles(save(blocks))
    assert particles.ctf.beam_tilt[:2].tolist() == [[0.5, 0.0], [-0.25, 1.0]]
    assert particles.ctf.odd_zernike[:2].tolist() == [[0.1, 0.2, 0.3], [0.4, 0.0, 0.0]]
    assert particles.ctf.even_zernike[1].tolist() == [3.0, 4.0]
    assert particles.ctf.phase_shift[0].item() == pytest.approx(np.pi / 2)
    assert particles.ctf.voltage_kv.tolist() == [100.0] * 12
    assert any("1 %" in warning for warning in particles.warnings)


def test_contradicting_origins_are_refused(blocks: Blocks, save: Save) -> None:
    table = blocks["particles"]
    for axis in "XY":
        table[f"rlnOrigin{axis}"] = [repr(float(value) / 2.0) for value in table[f"rlnOrigin{axis}Angst"]]
    assert read_particles(save(blocks)).pose.shift[0, 0].item() == -float(table["rlnOriginXAngst"][0])
    for axis in "XY":
        table[f"rlnOrigin{axis}"] = [repr(float(value) / 2.5) for value in table[f"rlnOrigin{axis}Angst"]]
    error = refusal(save(blocks))
    assert error.identifier == "particles.origins"
    assert "2.5 Å would fit" in str(error)


@pytest.mark.parametrize("axes", ["X", "XY"])
def test_missing_origins_are_not_taken_for_centred(blocks: Blocks, save: Save, axes: str) -> None:
    for axis in axes:
        del blocks["particles"][f"rlnOrigin{axis}Angst"]
    error = refusal(save(blocks))
    assert (error.identifier, error.field) == ("star.missing-column", "rlnOriginXAngst")


@pytest.mark.parametrize("column", ["rlnAngleRot", "rlnDefocusU", "rlnDefocusAngle", "rlnOriginXAngst"])
@pytest.mark.parametrize("value", ["nan", "inf", "<NA>"])
def test_a_particle_without_numbers_is_excluded_and_counted(
    blocks: Blocks, save: Save, images: np.ndarray, column: str, value: str
) -> None:
    blocks["particles"][column][4] = value
    particles = read_particles(save(blocks))
    assert len(particles) + len(particles.excluded) == 12
    assert [exclusion.row for exclusion in particles.excluded] == [4]
    assert "not a finite number" in particles.excluded[0].reason
    assert 4 not in particles.rows
    np.testing.assert_array_equal(particles.images(np.arange(11)).numpy(), np.delete(images, 4, axis=0))


def test_no_particle_left_is_an_error(blocks: Blocks, save: Save) -> None:
    blocks["particles"]["rlnAngleRot"] = ["nan"] * 12
    assert refusal(save(blocks)).identifier == "particles.none-left"


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("particles", "rlnAngleRot"),
        ("particles", "rlnAngleTilt"),
        ("particles", "rlnAnglePsi"),
        ("particles", "rlnDefocusU"),
        ("particles", "rlnDefocusAngle"),
        ("particles", "rlnImageName"),
        ("particles", "rlnOpticsGroup"),
        ("particles", "rlnOriginYAngst"),
        ("optics", "rlnVoltage"),
        ("optics", "rlnSphericalAberration"),
        ("optics", "rlnAmplitudeContrast"),
        ("optics", "rlnOpticsGroup"),
    ],
)
def test_a_missing_column_is_named(blocks: Blocks, save: Save, table: str, column: str) -> None:
    del blocks[table][column]
    path = save(blocks)
    error = refusal(path)
    assert error.identifier == "star.missing-column"
    assert error.field == column
    assert str(path) in str(error)


def test_a_missing_pixel_size_is_named(blocks: Blocks, save: Save) -> None:
    del blocks["optics"]["rlnImagePixelSize"]
    assert "rlnImagePixelSize" in str(refusal(save(blocks)))


@pytest.mark.parametrize(
    ("table", "column", "values", "identifier"),
    [
        ("optics", "rlnImagePixelSize", ["2.0", "2.1"], "particles.pixel-size"),
        ("optics", "rlnImagePixelSize", ["0.0", "0.0"], "particles.pixel-size"),
        ("optics", "rlnImageSize", ["16", "32"], "particles.image-size"),
        ("optics", "rlnMagMat00", ["1.0", "2.0"], "particles.magnification"),
        ("optics", "rlnVoltage", ["300000", "200000"], "particles.out-of-range"),
        ("optics", "rlnAmplitudeContrast", ["10", "7"], "particles.out-of-range"),
        ("optics", "rlnOpticsGroup", ["1", "3"], "star.unknown-group"),
        ("optics", "rlnOddZernike", ["[0.1,x]", "[0]"], "star.not-a-list"),
        ("particles", "rlnRandomSubset", ["1", "2", "0"] * 4, "halves.value"),
        ("particles", "rlnAnglePsi", ["north"] * 12, "star.not-a-number"),
    ],
)
def test_values_that_are_refused(
    blocks: Blocks, save: Save, table: str, column: str, values: list[str], identifier: str
) -> None:
    blocks[table][column] = values
    error = refusal(save(blocks))
    assert error.identifier == identifier
    assert error.field == column


def test_images_come_as_they_are_on_disk_in_any_order(blocks: Blocks, save: Save, images: np.ndarray) -> None:
    order = np.random.default_rng(5).permutation(12)
    for label, values in blocks["particles"].items():
        blocks["particles"][label] = [values[i] for i in order]
    particles = read_particles(save(blocks))
    read = particles.images(np.array([11, 0, 5, 5]))
    assert read.dtype == torch.float32
    np.testing.assert_array_equal(read.numpy(), images[order[[11, 0, 5, 5]]])
    assert particles.images(np.array([], dtype=np.int64)).shape == (0, 16, 16)


def test_taking_particles_takes_everything_along(blocks: Blocks, save: Save, images: np.ndarray) -> None:
    particles = read_particles(save(blocks))
    some = particles.take(np.array([7, 2]))
    assert len(some) == len(some.pose) == len(some.ctf) == 2
    np.testing.assert_array_equal(some.rows, [7, 2])
    np.testing.assert_array_equal(some.half, [2, 1])
    assert torch.equal(some.pose.shift, particles.pose.shift[[7, 2]])
    assert torch.equal(some.ctf.defocus_u, particles.ctf.defocus_u[[7, 2]])
    np.testing.assert_array_equal(some.images(np.arange(2)).numpy(), images[[7, 2]])
    np.testing.assert_array_equal(particles.take(particles.half == 2).rows, np.arange(6, 12))


@pytest.mark.parametrize(("value", "problem"), [(np.nan, "NaN"), (np.inf, "NaN"), (None, "same value")])
def test_a_bad_image_is_named(
    blocks: Blocks, save: Save, images: np.ndarray, value: float | None, problem: str
) -> None:
    path = save(blocks)
    bad = images[6:].copy()
    if value is None:
        bad[2] = 3.0
    else:
        bad[2, 5, 5] = value
    stack = path.parents[2] / "Extract/job001/b.mrcs"
    with np.errstate(invalid="ignore"):
        write_stack(stack, bad, 2.0)
    particles = read_particles(path)
    particles.images(np.delete(np.arange(12), 8))
    with pytest.raises(InputError, match=f"image 3 has .*{problem}") as caught:
        particles.images(np.arange(12))
    assert caught.value.file == stack


@needs_shared
def test_experimental_particles_in_both_dialects() -> None:
    old = read_particles(SHARED / "stacks" / "sample_particles_relion30.star")
    new = read_particles(SHARED / "stacks" / "sample_particles_relion31.star")
    assert torch.equal(old.images(np.arange(17)), new.images(np.arange(17)))
    np.testing.assert_array_equal(old.half, new.half)
    for name, value in new.ctf.terms().items():
        assert torch.equal(old.ctf.terms()[name], value), name
    # The converted file repeats row 13 in row 14, and gives the pixel size of the camera's nominal magnification: its
    # shifts in Å are the same numbers that the older file gives in pixels.
    same = torch.arange(17) != 14
    assert torch.equal(old.pose.rotation[same], new.pose.rotation[same])
    torch.testing.assert_close(old.pose.shift[same] / old.grid.pixel_size, new.pose.shift[same])
    assert (old.grid.box, new.grid.box) == (200, 200)
    assert old.grid.pixel_size == pytest.approx(1.338, abs=1e-4)


@needs_shared
def test_experimental_particles_found_in_a_data_folder() -> None:
    star = SHARED / "star" / "ml-struct-bio_cryodrgn__data_relion31.star"
    particles = read_particles(star, datadir=SHARED / "stacks")
    assert particles.grid == Grid(256, 2.806)
    assert particles.images(np.arange(5)).std().item() == pytest.approx(1.0, abs=0.1)


@needs_shared
@pytest.mark.parametrize("path", sorted((SHARED / "star").glob("*.star")), ids=lambda path: path.name)
def test_every_table_in_the_wild_is_used_or_refused_with_reasons(path: Path) -> None:
    # The images of the others are not there, or the table itself lacks what a reconstruction needs.
    if not path.name.endswith(("sample_particles_relion30.star", "cryodrgn__data_relion31.star")):
        with pytest.raises(InputError) as caught:
            read_particles(path, datadir=SHARED / "stacks")
        assert str(path) in str(caught.value)
        return
    particles = read_particles(path, datadir=SHARED / "stacks")
    table = particles.source.blocks[particles.particles_block]
    assert len(particles) + len(particles.excluded) == len(table)
    assert torch.isfinite(particles.images(np.arange(len(particles)))).all()


def test_a_truncated_stack_is_found_without_reading_it(blocks: Blocks, save: Save) -> None:
    path = save(blocks)
    os.truncate(path.parents[2] / "Extract/job001/b.mrcs", 3000)
    assert refusal(path).identifier == "mrc.truncated"
