"""Laws of the check on files: mistakes planted in a data set are found by name, and so are copies across the halves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.checking.check import Findings, as_dict, check_files, compare_readings, refusal, verdict, warnings
from dynaflex.checking.leak_search import find_leaks
from dynaflex.checking.readings import Comparison
from dynaflex.data.particles import read_particles
from dynaflex.io.mrc import read_map
from dynaflex.simulation.particles import simulate
from planted import PLANTS, plant_copies, table

N, BOX, PIXEL = 400, 32, 6.0
# At 12 Å these particles cannot show a map that is 3 % too large.
FINE = ("map 3 % larger",)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Particles whose noise has ten times the power of their signal."""
    folder = tmp_path_factory.mktemp("noisy")
    simulate(folder, N, BOX, PIXEL, 0.1, "hinge", 3)
    return folder


@pytest.fixture
def data(noisy: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(noisy, tmp_path / "data")
    return tmp_path / "data"


def compared(folder: Path, sign: float = 1.0) -> Comparison:
    particles = read_particles(folder / "particles.star")
    consensus, mask = (torch.from_numpy(read_map(folder / f"{name}.mrc").data) for name in ("consensus", "mask"))
    return compare_readings(particles, consensus, mask, sign)


def checked(folder: Path, **options: Any) -> Findings:
    return check_files(folder / "particles.star", folder / "consensus.mrc", folder / "mask.mrc", **options)


def test_the_table_as_given_wins_where_nothing_is_wrong(noisy: Path) -> None:
    found = compared(noisy)
    assert found.matches and found.better is None
    assert refusal(found, read_particles(noisy / "particles.star")) is None
    assert "as given fits best" in verdict(found)
    plain = as_dict(found)
    json.dumps(plain, allow_nan=False)
    assert plain["given"]["z"] > 20 and len(plain["others"]) > 60
    correlations = [other["correlation"] for other in plain["others"]]
    assert correlations == sorted(correlations, reverse=True)


@pytest.mark.parametrize("plant", [name for name in PLANTS if name not in FINE])
def test_a_planted_misreading_is_found(data: Path, plant: str) -> None:
    planted = PLANTS[plant]
    planted.make(data)
    found = compared(data)
    error = refusal(found, read_particles(data / "particles.star"))
    assert error is not None
    if planted.reading is None:
        assert not found.matches and error.identifier == "check.no-match"
    else:
        assert found.better is not None
        assert planted.reading in [found.better.name, *(score.name for score in found.ties)]
        assert error.identifier == "check.misread"
        assert planted.reading in str(error) and found.better.remedy in str(error) and "z = " in str(error)
        assert planted.reading in verdict(found)


def test_the_choice_of_particles_is_always_the_same(noisy: Path) -> None:
    assert as_dict(compared(noisy)) == as_dict(compared(noisy))


def test_black_particles_are_right_where_that_is_said(data: Path) -> None:
    PLANTS["contrast"].make(data)
    assert compared(data, -1.0).better is None
    assert checked(data, invert_contrast=True).report.ok
    found = checked(data)
    assert [problem.identifier for problem in found.report.problems] == ["check.misread"]
    assert "--invert-contrast" in str(found.report.problems[0])


def test_noise_matches_no_map(tmp_path: Path) -> None:
    simulate(tmp_path, 200, BOX, PIXEL, 0.0, "hinge", 4)
    error = refusal(compared(tmp_path), read_particles(tmp_path / "particles.star"))
    assert error is not None and error.identifier == "check.no-match" and "same order" in str(error)


def test_a_map_without_mask_and_a_table_without_map(noisy: Path) -> None:
    without = check_files(noisy / "particles.star", noisy / "consensus.mrc")
    assert without.report.ok and without.comparison is not None and without.comparison.given.z > 20
    alone = check_files(noisy / "particles.star")
    assert alone.report.ok and alone.comparison is None and alone.leaks is not None


def test_what_cannot_be_read_is_not_compared(tmp_path: Path) -> None:
    found = check_files(tmp_path / "none.star")
    assert not found.report.ok and found.comparison is None and found.leaks is None


def test_a_little_better_is_a_warning(noisy: Path) -> None:
    found = compared(noisy)
    assert warnings(found) == []
    best = found.others[0]
    assert best.gain < 3.0


@pytest.mark.parametrize("seed", range(3))
def test_planted_copies_are_found_and_nothing_else(data: Path, seed: int) -> None:
    particles = read_particles(data / "particles.star")
    before = find_leaks(particles)
    assert before.images == N and before.copies == () and before.errors(particles) == []
    pairs = plant_copies(data, 0.02, np.random.default_rng(seed))
    assert len(pairs) == N // 100
    after = find_leaks(read_particles(data / "particles.star"))
    assert {(copy.row, copy.other_row) for copy in after.copies} == pairs
    assert all(max(map(abs, copy.shift)) <= 4 for copy in after.copies)


def test_a_leak_is_an_error_with_its_rows(data: Path) -> None:
    plant_copies(data, 0.02, np.random.default_rng(7))
    found = checked(data)
    (problem,) = found.report.problems
    assert problem.identifier == "halves.copies" and f"{N // 100} images" in str(problem)
    assert found.leaks is not None
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert len(plain["leaks"]["copies"]) == N // 100
    assert f"rows {found.leaks.copies[0].row} and {found.leaks.copies[0].other_row}" in str(problem)


def test_images_under_one_name_are_left_to_the_comparison_of_names(data: Path) -> None:
    names = read_particles(data / "particles.star").half
    first, second = int(np.flatnonzero(names == 1)[0]), int(np.flatnonzero(names == 2)[0])

    def same_name(frame: Any) -> Any:
        frame.loc[second, "rlnImageName"] = frame.loc[first, "rlnImageName"]
        return frame

    table(same_name)(data)
    found = checked(data)
    assert [problem.identifier for problem in found.report.problems] == ["halves.shared-image"]


def test_images_without_noise_are_not_searched(tmp_path: Path) -> None:
    simulate(tmp_path, 200, BOX, PIXEL, float("inf"), "hinge", 5)
    found = checked(tmp_path)
    assert found.report.ok and found.leaks is not None and found.leaks.images == 0
    assert any("too little noise" in warning for warning in found.report.warnings)
