from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.io.mrc import write_map, write_stack

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_particles(path)
    return caught.value


def test_names_are_relative_to_the_project(blocks: Blocks, save: Save) -> None:
    path = save(blocks)
    job = path.parents[2] / "Extract" / "job001"
    assert read_particles(path).image_paths == (job / "a.mrcs", job / "b.mrcs")


def test_a_relative_star_file_finds_the_same(
    blocks: Blocks, save: Save, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(blocks)
    monkeypatch.chdir(path.parent)
    np.testing.assert_array_equal(read_particles(path.name).images(np.arange(12)).numpy(), images)


@pytest.mark.parametrize("place", ["elsewhere/Extract/job001", "elsewhere", "project/Refine3D/job002"])
def test_moved_images_are_found(blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path, place: str) -> None:
    path = save(blocks)
    job = tmp_path / "project" / "Extract" / "job001"
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for stack in ("a.mrcs", "b.mrcs"):
        shutil.move(job / stack, tmp_path / place / stack)
    particles = read_particles(path, datadir=tmp_path / "elsewhere")
    np.testing.assert_array_equal(particles.images(np.arange(12)).numpy(), images)


def test_the_first_missing_file_is_named(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    path = save(blocks)
    (tmp_path / "project/Extract/job001/b.mrcs").unlink()
    error = refusal(path)
    assert error.identifier == "particles.missing-images"
    assert "Extract/job001/b.mrcs" in str(error)
    assert error.fix is not None and "--datadir" in error.fix


@pytest.mark.parametrize("number", ["000000", "7", "-1"])
def test_an_image_outside_its_stack_is_refused(blocks: Blocks, save: Save, number: str) -> None:
    blocks["particles"]["rlnImageName"][3] = f"{number}@Extract/job001/a.mrcs"
    error = refusal(save(blocks))
    assert (error.identifier, error.row, error.field) == ("star.image-index", 3, "rlnImageName")
    assert "1 to 6" in str(error)


@pytest.mark.parametrize("name", ["x@Extract/job001/a.mrcs", "1.5@Extract/job001/a.mrcs", "@Extract/job001/a.mrcs"])
def test_a_name_without_a_number_is_refused(blocks: Blocks, save: Save, name: str) -> None:
    blocks["particles"]["rlnImageName"][3] = name
    error = refusal(save(blocks))
    assert (error.identifier, error.row) == ("star.image-name", 3)


def test_a_name_without_at_is_a_single_image(blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path) -> None:
    blocks["particles"]["rlnImageName"][3] = "Extract/job001/one.mrc"
    path = save(blocks)
    write_map(tmp_path / "project/Extract/job001/one.mrc", images[7:8], 2.0)
    np.testing.assert_array_equal(read_particles(path).images(np.array([3])).numpy(), images[7:8])


def test_different_boxes_are_refused(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    del blocks["optics"]["rlnImageSize"]
    path = save(blocks)
    write_stack(tmp_path / "project/Extract/job001/b.mrcs", np.ones((6, 20, 20), dtype=np.float32), 2.0)
    error = refusal(path)
    assert error.identifier == "particles.box"
    assert "16" in str(error) and "20" in str(error)


def test_marks_of_cryosparc_are_no_part_of_a_path(blocks: Blocks, save: Save, images: np.ndarray) -> None:
    names = blocks["particles"]["rlnImageName"]
    blocks["particles"]["rlnImageName"] = [name.replace("@", "@>") if i % 2 else name for i, name in enumerate(names)]
    particles = read_particles(save(blocks))
    assert len(particles.image_paths) == 2
    np.testing.assert_array_equal(particles.images(np.arange(12)).numpy(), images)


def test_leading_folders_may_be_missing(blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path) -> None:
    path = save(blocks)
    job = tmp_path / "project" / "Extract" / "job001"
    (tmp_path / "copied" / "job001").mkdir(parents=True)
    for stack in ("a.mrcs", "b.mrcs"):
        shutil.move(job / stack, tmp_path / "copied" / "job001" / stack)
    particles = read_particles(path, datadir=tmp_path / "copied")
    np.testing.assert_array_equal(particles.images(np.arange(12)).numpy(), images)


def test_two_names_for_one_shortened_path_are_refused(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    table = blocks["particles"]
    table["rlnImageName"] = [name.replace("job001/b.mrcs", "job002/a.mrcs") for name in table["rlnImageName"]]
    path = save(blocks)
    job = tmp_path / "project" / "Extract" / "job001"
    shutil.move(job / "a.mrcs", path.parent / "a.mrcs")
    error = refusal(path)
    assert (error.identifier, error.row) == ("particles.ambiguous-images", 6)
    assert "Extract/job001/a.mrcs and Extract/job002/a.mrcs" in str(error)


def test_two_files_for_one_shortened_path_are_refused(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    path = save(blocks)
    job = tmp_path / "project" / "Extract" / "job001"
    (tmp_path / "data").mkdir()
    shutil.copy(job / "a.mrcs", tmp_path / "data" / "a.mrcs")
    shutil.move(job / "a.mrcs", path.parent / "a.mrcs")
    with pytest.raises(InputError) as caught:
        read_particles(path, datadir=tmp_path / "data")
    assert caught.value.identifier == "particles.ambiguous-images"
    assert all(str(folder / "a.mrcs") in str(caught.value) for folder in (tmp_path / "data", path.parent))


def test_links_are_followed_and_broken_ones_named(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    path = save(blocks)
    job = tmp_path / "project" / "Extract" / "job001"
    shutil.move(job, tmp_path / "elsewhere")
    job.symlink_to(tmp_path / "elsewhere")
    assert len(read_particles(path)) == 12
    shutil.move(tmp_path / "elsewhere", tmp_path / "gone")
    error = refusal(path)
    assert error.identifier == "particles.broken-link"
    assert str(job) in str(error) and str(tmp_path / "elsewhere") in str(error)
    (tmp_path / "elsewhere").symlink_to(job)
    assert refusal(path).identifier == "particles.broken-link"


def test_every_place_that_was_tried_is_listed(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    path = save(blocks)
    (tmp_path / "other").mkdir()
    shutil.move(tmp_path / "project" / "Extract", tmp_path / "other" / "Extract")
    text = str(refusal(path))
    assert "2 of 2 image files not found: Extract/job001/a.mrcs, Extract/job001/b.mrcs" in text
    for place in ("the working directory", str(path.parent), str(tmp_path)):
        assert place in text
    # The one place where they lie is found, and advised.
    assert f"--datadir {tmp_path / 'other'}" in text
    assert len(read_particles(path, datadir=tmp_path / "other")) == 12


def test_a_cut_stack_names_the_row_that_needs_it(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    path = save(blocks)
    with (tmp_path / "project/Extract/job001/b.mrcs").open("r+b") as stream:
        stream.truncate(1024 + 4 * 16 * 16 * 4 + 7)
    error = refusal(path)
    assert error.identifier == "mrc.truncated"
    assert "4 of 6 sections" in str(error) and f"row 10 of {path}" in str(error)
