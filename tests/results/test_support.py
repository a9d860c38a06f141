"""Laws of the support: a motion that is in the images has it, one that is not has none, and one number is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.noise import alternate_shells
from dynaflex.losses.data import data_loss
from dynaflex.reconstruct.field import Region
from dynaflex.results.reopen import reopened
from dynaflex.results.support import Support, _solved
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.simulation.particles import simulate
from supported import supports

Brief = Callable[..., tuple[Path, Any]]


@pytest.mark.parametrize("fixture", ["finished_run", "flex_run"])
def test_a_true_motion_is_supported_and_that_of_another_particle_is_worse_than_none(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    for half in supports(request.getfixturevalue(fixture)):
        assert half.holds and half.permuted < 0.0


def test_nothing_around_the_molecule_is_judged(flex_run: Path) -> None:
    """Maps are solved for in the whole sphere of the box: the more of it is empty, the more noise is in them."""
    run = Run.open(flex_run)
    inputs, device = reopened(run), torch.device("cpu")
    grid = inputs.imaging.grid
    around = Region.sphere(grid, device).from_volume(fourier.resize(inputs.mask, grid.box, 3)) <= 0.0
    maps = _solved(run, inputs, load_half(run, 1), device)
    assert 0.3 < float(around.float().mean()) < 1.0
    for name in ("rigid", "corrected"):
        voxels = maps.voxels[name]
        assert not voxels[around].any() and float(voxels[~around].std()) > 0.0


def test_report_and_validation_tell_the_same_number(
    finished_run: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    controls = {one["name"]: one for one in json.loads(command("validate", run, "--json").out)["controls"]}
    for number, half in enumerate(supports(run), 1):
        control = controls[f"held-out gain, half {number}"]
        # The halves have come to one conformation since, and voxels lie elsewhere between the cells.
        assert (control["value"], control["chance"]) == pytest.approx((half.gain, half.error), rel=0.02)


@pytest.mark.parametrize(
    ("support", "moves", "holds"),
    [
        (Support(4.0, 1.0, 8.0, 1.0, 4.0, 1.0), True, True),
        (Support(2.9, 1.0, 9.0, 1.0, 4.0, 1.0), False, False),
        (Support(9.0, 1.0, 2.9, 1.0, 4.0, 1.0), False, False),
        (Support(-9.0, 1.0, 11.0, 1.0, 4.0, 1.0), False, False),
        (Support(4.0, 1.0, 8.0, 1.0, 2.9, 1.0), True, False),
    ],
)
def test_it_takes_three_standard_errors_over_the_rigid_map_over_others_and_over_the_whole(
    support: Support, moves: bool, holds: bool
) -> None:
    assert (support.moves, support.holds) == (moves, holds)


@pytest.mark.parametrize("method", ["flex", "dynamight"])
def test_errors_of_poses_are_no_motion(tmp_path: Path, brief_of: Brief, method: str) -> None:
    simulate(tmp_path / "data", 400, 32, 6.0, 0.2, "none", 4)
    turned_by_mistake(tmp_path / "data" / "particles.star", degrees=4.0)
    run, outcome = brief_of(method, "--epochs", 14, "--until", "train", "--skip-check", data=tmp_path / "data")
    assert outcome.code == 0, outcome.err
    found = supports(run)
    assert any(half.moves for half in found), "the errors of the poses were not even found"
    assert not any(half.holds for half in found)
    for half in found:
        assert half.whole == pytest.approx(half.gain, abs=3.0 * half.over_whole_error + 0.1 * half.gain)


def turned_by_mistake(table: Path, degrees: float) -> None:
    """Turn every particle by some ``degrees`` about each axis."""
    blocks = starfile.read(table, always_dict=True)
    columns = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    true = Rotation.from_euler("ZYZ", blocks["particles"][columns].to_numpy(), degrees=True)
    errors = np.random.default_rng(3).normal(scale=np.radians(degrees), size=(len(true), 3))
    blocks["particles"][columns] = (true * Rotation.from_rotvec(errors)).as_euler("ZYZ", degrees=True)
    starfile.write(blocks, table, overwrite=True)


def test_every_shell_is_on_one_side_and_both_sides_reach_as_far() -> None:
    grid = Grid(64, 3.0)
    side, shells = alternate_shells(grid, torch.device("cpu")), grid.shells(2)
    assert all(len(side[shells == shell].unique()) == 1 for shell in range(grid.n_shells))
    assert 0.4 < float(side.float().mean()) < 0.6


def test_likelihoods_of_both_sides_add_up_to_that_of_all_shells() -> None:
    grid, generator = Grid(32, 3.0), torch.Generator().manual_seed(0)
    side = alternate_shells(grid, torch.device("cpu"))
    weights = torch.rand(side.shape, generator=generator)
    predicted, seen = torch.randn((2, 5, *side.shape), dtype=torch.complex64, generator=generator)
    parts = [data_loss(predicted, seen, torch.where(side == one, weights, 0.0)) for one in (0, 1)]
    assert all(bool((part > 0.0).all()) for part in parts)
    torch.testing.assert_close(parts[0] + parts[1], data_loss(predicted, seen, weights))
