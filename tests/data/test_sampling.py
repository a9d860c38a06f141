"""Optics groups of different pixel size and box, in both orders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dynaflex.checking.preflight import check_inputs
from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.resample import resampled
from dynaflex.io.mrc import write_map, write_stack

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]


@pytest.fixture(params=["coarse first", "fine first"])
def mixed(blocks: Blocks, save: Save, request: pytest.FixtureRequest) -> tuple[Path, np.ndarray]:
    """Stack b was taken with pixels of 1.25 Å in a box of 28, stack a of 2 Å in 16; a group for each."""
    blocks["particles"]["rlnOpticsGroup"] = ["1"] * 6 + ["2"] * 6
    blocks["optics"]["rlnImagePixelSize"] = ["2.0", "1.25"]
    blocks["optics"]["rlnImageSize"] = ["16", "28"]
    if request.param == "fine first":
        for values in blocks["particles"].values():
            values.reverse()
        for values in blocks["optics"].values():
            values.reverse()
    path = save(blocks)
    fine = np.random.default_rng(7).normal(size=(6, 28, 28)).astype(np.float32)
    write_stack(path.parents[2] / "Extract/job001/b.mrcs", fine, 1.25)
    return path, fine


def refusal(path: Path, grid: Grid | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read_particles(path, grid=grid)
    return caught.value


def test_all_images_come_on_the_grid_of_the_map(mixed: tuple[Path, np.ndarray], images: np.ndarray) -> None:
    path, fine = mixed
    grid = Grid(16, 2.0)
    particles = read_particles(path, grid=grid)
    assert particles.grid == grid
    expected = np.concatenate([images[:6], resampled(fine, Grid(28, 1.25), grid)])
    if particles.group[0] == 2:
        expected = expected[::-1]
    np.testing.assert_allclose(particles.images(np.arange(12)).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(
        particles.take(np.array([8, 1])).images(np.arange(2)).numpy(), expected[[8, 1]], atol=1e-6
    )
    assert any("group 2: 6 images of 28 pixels of 1.25 Å" in warning for warning in particles.warnings)
    assert not any("group 1" in warning for warning in particles.warnings)


def test_without_a_map_the_difference_is_refused_with_a_command(mixed: tuple[Path, np.ndarray]) -> None:
    error = refusal(mixed[0])
    assert error.identifier == "particles.box"
    assert error.row == 6 and "relion_image_handler" in str(error) and "--map" in str(error)


@pytest.mark.parametrize("grid", [Grid(28, 1.25), Grid(40, 2.0), Grid(14, 1.5)])
def test_a_map_that_shows_more_than_a_group_is_refused(mixed: tuple[Path, np.ndarray], grid: Grid) -> None:
    error = refusal(mixed[0], grid)
    assert (error.identifier, error.field) == ("particles.sampling", "rlnOpticsGroup")
    assert "relion_image_handler" in str(error)


def test_the_check_takes_the_grid_of_the_map(mixed: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    volume = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32) ** 2
    write_map(tmp_path / "map.mrc", volume, 2.0)
    report = check_inputs(mixed[0], tmp_path / "map.mrc", read_images=True)
    assert report.ok and report.facts["box"] == 16
    assert [problem.identifier for problem in check_inputs(mixed[0]).problems] == ["particles.box"]


def test_one_pixel_size_needs_no_map(blocks: Blocks, save: Save) -> None:
    blocks["optics"]["rlnImagePixelSize"] = ["2.0", "2.0005"]
    particles = read_particles(save(blocks))
    assert particles.grid.box == 16 and particles.grid.pixel_size == pytest.approx(2.0, abs=1e-3)
