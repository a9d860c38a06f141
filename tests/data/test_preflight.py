from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dynaflex.checking.preflight import check_inputs
from dynaflex.errors import InputError
from dynaflex.io.mrc import write_map, write_stack

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]


def ball(box: int, edge: float = 2.0) -> np.ndarray:
    axis = np.arange(box) - box // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    return np.clip(1 - (radius - box / 4) / edge, 0, 1).astype(np.float32)


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, Path]:
    """A map and a mask that fit the particles."""
    write_map(tmp_path / "map.mrc", 0.05 * ball(16), 2.0)
    write_map(tmp_path / "mask.mrc", ball(16), 2.0)
    return tmp_path / "map.mrc", tmp_path / "mask.mrc"


def identifiers(*paths: Path, read_images: bool = False) -> list[str]:
    report = check_inputs(*paths, read_images=read_images)
    assert report.ok == (not report.problems)
    json.dumps(report.as_dict(), allow_nan=False)
    return [problem.identifier for problem in report.problems]


def test_good_files_give_facts_and_no_problem(blocks: Blocks, save: Save, volumes: tuple[Path, Path]) -> None:
    report = check_inputs(save(blocks), *volumes, read_images=True)
    assert report.ok and report.warnings == []
    report.raise_first()
    facts = report.facts
    assert (facts["particles_used"], facts["particles_excluded"], facts["images_read"]) == (12, 0, 12)
    assert (facts["half1"], facts["half2"], facts["half_sets"]) == (6, 6, "rlnRandomSubset")
    assert (facts["box"], facts["pixel_size"], facts["optics_groups"]) == (16, 2.0, {"1": 6, "2": 6})


def test_counts_in_are_counts_used_and_excluded(blocks: Blocks, save: Save) -> None:
    blocks["particles"]["rlnDefocusU"][2] = "nan"
    facts = check_inputs(save(blocks)).facts
    assert facts["particles_in_table"] == 12
    assert (facts["particles_used"], facts["particles_excluded"]) == (11, 1)
    assert facts["excluded"] == [{"row": 2, "reason": "not a finite number: defocus u"}]


def test_all_problems_are_collected(blocks: Blocks, save: Save, tmp_path: Path) -> None:
    del blocks["particles"]["rlnAngleRot"]
    write_map(tmp_path / "map.mrc", ball(16)[:8], 2.0)
    found = identifiers(save(blocks), tmp_path / "map.mrc", tmp_path / "none.mrc")
    assert found == ["star.missing-column", "mrc.not-cubic", "mrc.missing"]
    with pytest.raises(InputError, match="rlnAngleRot"):
        check_inputs(save(blocks)).raise_first()


def test_a_missing_table_is_a_problem(tmp_path: Path) -> None:
    assert identifiers(tmp_path / "none.star") == ["star.missing"]


@pytest.mark.parametrize("which", [0, 1])
def test_volumes_of_another_box_or_pixel_size(
    blocks: Blocks, save: Save, volumes: tuple[Path, Path], which: int
) -> None:
    star = save(blocks)
    write_map(volumes[which], 0.9 * ball(20), 2.0)
    assert identifiers(star, *volumes) == ["volume.box"]
    right = (0.05 * ball(16), ball(16))[which]
    write_map(volumes[which], right, 2.002)
    assert identifiers(star, *volumes) == ["volume.pixel-size"]
    write_map(volumes[which], right, 2.0005)
    assert identifiers(star, *volumes) == []
    with mrcfile.open(volumes[which], "r+") as file:
        file.header.cella = (0, 0, 0)
    report = check_inputs(star, *volumes)
    assert report.ok and len(report.warnings) == 1 and "pixel size" in report.warnings[0]


def test_map_and_mask_are_compared_even_without_particles(volumes: tuple[Path, Path], tmp_path: Path) -> None:
    write_map(volumes[1], ball(20), 2.0)
    assert identifiers(tmp_path / "none.star", *volumes) == ["star.missing", "volume.box"]


def test_maps_that_are_no_maps(blocks: Blocks, save: Save, volumes: tuple[Path, Path]) -> None:
    star = save(blocks)
    broken = ball(16)
    broken[0, 0, 0] = np.nan
    write_map(volumes[0], broken, 2.0)
    assert identifiers(star, *volumes) == ["mrc.not-finite"]
    write_map(volumes[0], np.zeros((16, 16, 16), dtype=np.float32), 2.0)
    assert identifiers(star, *volumes) == ["map.constant"]
    write_map(volumes[0], -ball(16), 2.0)
    assert any("inverted" in warning for warning in check_inputs(star, *volumes).warnings)


def test_a_mask_in_place_of_the_map(blocks: Blocks, save: Save, volumes: tuple[Path, Path]) -> None:
    assert identifiers(save(blocks), volumes[1], volumes[1]) == ["map.mask"]


def test_a_mask_that_touches_the_edge(blocks: Blocks, save: Save, volumes: tuple[Path, Path]) -> None:
    write_map(volumes[1], np.roll(ball(16), 6, axis=1), 2.0)
    assert any("touches the edge" in warning for warning in check_inputs(save(blocks), *volumes).warnings)


def test_masks_that_are_no_masks(blocks: Blocks, save: Save, volumes: tuple[Path, Path]) -> None:
    star = save(blocks)
    for values in (ball(16) * 5, ball(16) * 0, ball(16) - 1):
        write_map(volumes[1], values, 2.0)
        assert identifiers(star, *volumes) == ["mask.values"]
    write_map(volumes[1], (ball(16) > 0.5).astype(np.float32), 2.0)
    assert any("hard edge" in warning for warning in check_inputs(star, *volumes).warnings)


def test_an_empty_half(blocks: Blocks, save: Save) -> None:
    blocks["particles"]["rlnRandomSubset"] = ["1"] * 12
    assert identifiers(save(blocks)) == ["halves.empty"]


def test_copies_of_an_image(blocks: Blocks, save: Save) -> None:
    names = blocks["particles"]["rlnImageName"]
    names[1] = names[0]
    report = check_inputs(save(blocks))
    assert report.ok and any("listed before" in warning for warning in report.warnings)
    names[11] = names[0]
    assert identifiers(save(blocks)) == ["halves.shared-image"]


def test_suspicious_units(blocks: Blocks, save: Save) -> None:
    for name in ("rlnDefocusU", "rlnDefocusV"):
        blocks["particles"][name] = ["1.5"] * 12
    blocks["particles"]["rlnOriginXAngst"] = ["12.0"] * 12
    warnings = " ".join(check_inputs(save(blocks)).warnings)
    assert "defocus" in warnings and "shifts" in warnings


def test_bad_images_are_all_found_by_reading(blocks: Blocks, save: Save, images: np.ndarray) -> None:
    star = save(blocks)
    bad = images[6:].copy()
    bad[1, 0, 0] = np.nan
    bad[4] = 1.0
    write_stack(star.parents[2] / "Extract/job001/b.mrcs", bad, 2.0)
    assert identifiers(star) == []
    report = check_inputs(star, read_images=True)
    assert [problem.identifier for problem in report.problems] == ["particles.bad-image"] * 2
    assert "image 2 " in str(report.problems[0]) and "image 5 " in str(report.problems[1])
    json.dumps(report.as_dict(), allow_nan=False)


@pytest.mark.parametrize("value", [0.0, 0.7])
@pytest.mark.parametrize(("radius", "which"), [(8.0, range(6)), (5.0, [3]), (6.5, [5, 2])])
def test_masked_images_are_told_with_the_first_of_them(
    blocks: Blocks, save: Save, images: np.ndarray, value: float, radius: float, which: list[int]
) -> None:
    star = save(blocks)
    axis = np.arange(16) - 8
    outside = np.hypot(axis[:, None], axis[None, :]) > radius
    masked = images[6:].copy()
    masked[np.ix_(list(which))] = np.where(outside, value, masked[list(which)])
    stack = star.parents[2] / "Extract/job001/b.mrcs"
    write_stack(stack, masked, 2.0)
    (problem,) = check_inputs(star, read_images=True).problems
    assert (problem.identifier, problem.file) == ("particles.masked", stack)
    assert f"image {min(which) + 1} " in str(problem) and f"{len(which)} of 12" in str(problem)
    assert f"row {6 + min(which)} of {star}" in str(problem)


def test_noise_within_a_large_circle_is_enough(blocks: Blocks, save: Save, images: np.ndarray) -> None:
    star = save(blocks)
    axis = np.arange(16) - 8
    inside = np.hypot(axis[:, None], axis[None, :]) < 10.0
    write_stack(star.parents[2] / "Extract/job001/b.mrcs", images[6:] * inside, 2.0)
    assert check_inputs(star, read_images=True).ok


def test_a_truncated_stack(blocks: Blocks, save: Save) -> None:
    star = save(blocks)
    os.truncate(star.parents[2] / "Extract/job001/a.mrcs", 2000)
    assert identifiers(star) == ["mrc.truncated"]


def test_a_stack_header_that_disagrees_is_mentioned(blocks: Blocks, save: Save, images: np.ndarray) -> None:
    star = save(blocks)
    write_stack(star.parents[2] / "Extract/job001/a.mrcs", images[:6], 1.0)
    report = check_inputs(star)
    assert report.ok and any("header" in warning for warning in report.warnings)
