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


def test_the_users_folder_wins_over_the_project(blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path) -> None:
    """Whole or shortened, relative or absolute: who copied the images to a fast disk means the copies."""
    path = save(blocks)
    for place, names in (("disk/Extract/job001", None), ("flat", None), ("flat", tmp_path / "project")):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for stack, part in (("a.mrcs", images[:6]), ("b.mrcs", images[6:])):
            write_stack(tmp_path / place / stack, -part, 2.0)
        if names is not None:
            column = blocks["particles"]["rlnImageName"]
            blocks["particles"]["rlnImageName"] = [name.replace("@", f"@{names}/") for name in column]
            path = save(blocks)
        np.testing.assert_array_equal(read_particles(path).images(np.arange(12)).numpy(), images)
        copied = read_particles(path, datadir=tmp_path / place.partition("/")[0])
        np.testing.assert_array_equal(copied.images(np.arange(12)).numpy(), -images)


def other_project(path: Path, name: str = "other") -> Path:
    """A project with files of the same names and sizes, and other images."""
    project = path.parents[2].parent / name
    (project / "Extract/job001").mkdir(parents=True)
    for stack in ("a.mrcs", "b.mrcs"):
        write_stack(project / "Extract/job001" / stack, np.ones((6, 16, 16), dtype=np.float32), 2.0)
    return project


def test_another_project_in_the_working_directory_is_not_taken_for_the_tables(
    blocks: Blocks, save: Save, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(blocks)
    other = other_project(path)
    monkeypatch.chdir(other)
    error = refusal(path)
    assert error.identifier == "particles.ambiguous-images"
    for project in (path.parents[2], other):
        assert str(project / "Extract/job001/a.mrcs") in str(error.found)
        assert f"--datadir {project}" in str(error.fix)
    # Following either advice ends the doubt.
    given = read_particles(path, datadir=path.parents[2])
    np.testing.assert_array_equal(given.images(np.arange(12)).numpy(), images)
    assert read_particles(path, datadir=other).image_root == other


def test_a_project_that_the_path_only_passes_through_is_not_the_tables(
    blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = save(blocks), other_project(save(blocks))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    through = Path("..") / other.name / ".." / path.relative_to(tmp_path)
    particles = read_particles(through)
    np.testing.assert_array_equal(particles.images(np.arange(12)).numpy(), images)
    assert particles.image_root == tmp_path / "project"


def test_one_file_under_two_roofs_is_no_doubt(
    blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(blocks)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "Extract").symlink_to(tmp_path / "project" / "Extract")
    monkeypatch.chdir(tmp_path / "scratch")
    np.testing.assert_array_equal(read_particles(path).images(np.arange(12)).numpy(), images)


@pytest.mark.parametrize("marker", ["default_pipeline.star", ".relion_lock/", "cs.lock", "J7/"])
def test_the_search_ends_at_the_root_of_the_project(
    blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path, marker: str
) -> None:
    path = save(blocks)
    # A folder above the project has files of the same names: an older copy, say.
    (tmp_path / "Extract/job001").mkdir(parents=True)
    for stack in ("a.mrcs", "b.mrcs"):
        write_stack(tmp_path / "Extract/job001" / stack, np.ones((6, 16, 16), dtype=np.float32), 2.0)
    assert refusal(path).identifier == "particles.ambiguous-images"
    root = tmp_path / "project"
    (root / marker).mkdir() if marker.endswith("/") else (root / marker).touch()
    np.testing.assert_array_equal(read_particles(path).images(np.arange(12)).numpy(), images)
    shutil.rmtree(root / "Extract")
    assert str(tmp_path / "Extract") not in str(refusal(path).expected)


def test_a_link_to_a_table_leads_to_its_project(blocks: Blocks, save: Save, images: np.ndarray, tmp_path: Path) -> None:
    path = save(blocks)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine.star").symlink_to(path)
    particles = read_particles(tmp_path / "home" / "mine.star")
    np.testing.assert_array_equal(particles.images(np.arange(12)).numpy(), images)


def test_a_prefix_is_stripped_before_anything_is_looked_for(blocks: Blocks, save: Save, images: np.ndarray) -> None:
    names = blocks["particles"]["rlnImageName"]
    blocks["particles"]["rlnImageName"] = [name.replace("@", "@/gone/scratch/") for name in names]
    path = save(blocks)
    assert refusal(path).identifier == "particles.missing-images"
    for prefix in ("/gone/scratch", "/gone/scratch/"):
        particles = read_particles(path, strip_prefix=prefix)
        np.testing.assert_array_equal(particles.images(np.arange(12)).numpy(), images)
    with pytest.raises(InputError, match="--strip-prefix") as caught:
        read_particles(path, strip_prefix="/elsewhere")
    assert (caught.value.identifier, caught.value.found) == (
        "particles.strip-prefix",
        "/gone/scratch/Extract/job001/a.mrcs",
    )


def test_the_root_of_the_names_finds_them_from_anywhere(
    blocks: Blocks, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(blocks)
    first = read_particles(path)
    assert first.image_root == tmp_path / "project"
    monkeypatch.chdir(other_project(path))
    assert read_particles(path, datadir=first.image_root).image_paths == first.image_paths


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
