"""Who gives a .cs file reads of its own fields, counted as it counts, and of what cryoSPARC can do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cryosparc_files import in_classes, records, with_column, without, write_cs
from dynaflex.checking.check import check_files
from dynaflex.checking.preflight import check_inputs
from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.io.mrc import write_stack

Rows = np.ndarray
OURS = re.compile(r"rln|relion|run_data|\.star|optics table")


def setting(name: str, where: object, value: object) -> Callable[[Rows], Rows]:
    def spoil(rows: Rows) -> Rows:
        rows[name][where] = value
        return rows

    return spoil


def same_image(rows: Rows) -> Rows:
    for name in ("blob/path", "blob/idx"):
        rows[name][11] = rows[name][0]
    return rows


def same_place(rows: Rows) -> Rows:
    rows["location/micrograph_path"] = b"m.mrc"
    rows["location/center_x_frac"] = rows["location/center_y_frac"] = np.linspace(0.1, 0.9, 12)
    for name in ("location/center_x_frac", "location/center_y_frac"):
        rows[name][11] = rows[name][0]
    rows["alignments3D/shift"] = 0.0
    return rows


MISTAKES: dict[str, tuple[Callable[[Rows], Rows], str, str | None, str]] = {
    # what is done, the error, its field, and a part of the remedy
    "volts": (setting("ctf/accel_kv", 3, 300000), "particles.out-of-range", "ctf/accel_kv", "divide it by 1000"),
    "per cent": (setting("ctf/amp_contrast", 3, 10), "particles.out-of-range", "ctf/amp_contrast", "cryosparc-tools"),
    "no pixel size": (setting("blob/psize_A", 3, 0), "particles.pixel-size", "blob/psize_A", "cryosparc-tools"),
    "two pixel sizes": (setting("blob/psize_A", 3, 2.5), "particles.pixel-size", "blob/psize_A", "Downsample"),
    "another box": (setting("blob/shape", 3, 64), "particles.image-size", "blob/shape", "stacks"),
    "no such image": (setting("blob/idx", 3, 6), "star.image-index", "blob/path and blob/idx", "counts from 0"),
    "no such stack": (setting("blob/path", 3, b">J9/x.mrc"), "particles.missing-images", "blob/path and blob/idx", "-"),
    "three splits": (setting("alignments3D/split", 3, 2), "cs.split", "alignments3D/split", "non-uniform refinement"),
    "one split": (setting("alignments3D/split", slice(None), 1), "halves.empty", "alignments3D/split", "non-uniform"),
    "one image in both": (same_image, "halves.shared-image", "alignments3D/split", "Remove Duplicate Particles"),
    "one place in both": (
        same_place, "halves.same-place", "location/center_x_frac and location/center_y_frac", "Remove Duplicate",
    ),
    "no poses": (setting("alignments3D/pose", slice(None), np.nan), "particles.none-left", None, "3D refinement"),
}  # fmt: skip


@pytest.fixture
def job(blocks: dict[str, dict[str, list[str]]], save: Callable[..., Path]) -> tuple[Path, Rows]:
    """A .cs file of a project, and its rows to spoil."""
    star = save(blocks)
    folder = star.parents[2] / "J12"
    folder.mkdir()
    rows = records(star, 2.0)
    rows["location/micrograph_shape"] = (3000, 3000)
    return folder / "particles.cs", rows


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_cryosparcs_words(job: tuple[Path, Rows], mistake: str) -> None:
    spoil, identifier, field, remedy = MISTAKES[mistake]
    report = check_inputs(write_cs(job[0], spoil(job[1])), read_images=True)
    error = report.problems[0]
    assert (error.identifier, error.field) == (identifier, field)
    assert error.fix is not None and remedy in error.fix
    assert not OURS.search(json.dumps(report.as_dict())), report.as_dict()


def test_numbers_count_as_in_the_file(job: tuple[Path, Rows]) -> None:
    path, rows = job
    rows["blob/idx"][3] = 6
    with pytest.raises(InputError, match="expected 0 to 5; found 6"):
        read_particles(write_cs(path, rows))
    rows["blob/idx"][3] = 5
    classes = in_classes(rows, np.arange(12) % 3, 4)
    with pytest.raises(InputError) as caught:
        read_particles(write_cs(path, classes), class_number=3)
    assert (caught.value.identifier, caught.value.found) == ("particles.no-such-class", 3)
    assert caught.value.expected == "class 0: 4, class 1: 4, class 2: 4"
    chosen = read_particles(write_cs(path, classes), class_number=2)
    assert {exclusion.reason for exclusion in chosen.excluded} == {"of class 0, not 2", "of class 1, not 2"}


def test_warnings_speak_too(job: tuple[Path, Rows]) -> None:
    path, rows = job
    rows["ctf/amp_contrast"] = 0.0
    rows["ctf/anisomag"][:, 0] = 0.01
    warnings = " ".join(read_particles(write_cs(path, without(rows, "alignments3D/split"))).warnings)
    for field in ("alignments3D/split", "ctf/amp_contrast", "ctf/anisomag"):
        assert field in warnings
    assert not OURS.search(warnings)


def test_a_corrupt_image_is_for_cryosparcs_own_check(job: tuple[Path, Rows], images: np.ndarray) -> None:
    path, rows = job
    bad = images[:6].copy()
    bad[2, 4, 4] = np.nan
    write_stack(path.parents[1] / "Extract/job001/a.mrcs", bad, 2.0)
    particles = read_particles(write_cs(path, rows))
    with pytest.raises(InputError, match="Check For Corrupt Particles"):
        particles.images(np.arange(12))


def test_a_table_that_is_misread_is_changed_in_its_own_fields(few: Path, tmp_path: Path) -> None:
    """Shifts of the other sign, as another program's converter may write them."""
    rows = records(few / "particles.star", 6.0)
    rows["alignments3D/shift"] *= -1.0
    path = write_cs(tmp_path / "particles.cs", rows)
    found = check_files(path, few / "consensus.mrc", few / "mask.mrc", datadir=few)
    (error,) = found.report.problems
    assert error.identifier == "check.misread"
    assert "alignments3D/shift[0] and alignments3D/shift[1]" in str(error)
    assert "dynaflex convert" in str(error.fix)
    assert "rln" not in json.dumps(found.as_dict())


def test_a_table_of_relion_keeps_relions_words(
    blocks: dict[str, dict[str, list[str]]], save: Callable[..., Path]
) -> None:
    blocks["optics"]["rlnVoltage"][0] = "300000"
    with pytest.raises(InputError, match="rlnVoltage is in kV"):
        read_particles(save(blocks))


def test_words_are_said_once(job: tuple[Path, Rows]) -> None:
    path, rows = job
    rows = with_column(rows, "ctf/accel_kv", np.full(12, 3e5, dtype="<f4"))
    for error in check_inputs(write_cs(path, rows)).problems:
        assert str(error).count("cryosparc-tools") == 1
