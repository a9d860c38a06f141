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
