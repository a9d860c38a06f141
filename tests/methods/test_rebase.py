"""A half that is brought to another conformation is there whole: its images stay, its map, landmarks and flow go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dynaflex.imaging.pose import Pose
from dynaflex.model import FlexModel
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.results.alignment import mean_conformation, rest_at_the_mean
from dynaflex.results.trained import ALIGNMENT, load_half, method_of
from dynaflex.rotations import random_rotations
from dynaflex.run.directory import Run
from dynaflex.run.ledger import Ledger
from dynaflex.validate.fsc import fourier_shell_correlation

Rebase = Callable[[FlexModel, torch.Tensor], FlexModel]


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run whose halves rest at z = 0."""
    source = request.getfixturevalue("finished_run" if request.param == "dynamight" else "flex_run")
    path = Path(shutil.copytree(source, tmp_path_factory.mktemp("rebase") / "run"))
    Ledger(path).forget(ALIGNMENT)
    return Run.open(path)


@pytest.fixture(scope="module")
def model(run: Run) -> FlexModel:
    return load_half(run, 1).model


@pytest.fixture(scope="module")
def origin(run: Run) -> torch.Tensor:
    """A conformation that some particles have."""
    latents = load_half(run, 1).latents.mean
    return latents.mean(dim=0) + 0.8 * latents.std(dim=0)


@pytest.fixture(scope="module")
def rebase(run: Run) -> Rebase:
    return method_of(run).rebase


def test_particles_look_as_before(model: FlexModel, origin: torch.Tensor, rebase: Rebase) -> None:
    moved = rebase(model, origin)
    z = origin + torch.randn(3, len(origin), generator=torch.Generator().manual_seed(0))
    pose = Pose(random_rotations(3, torch.Generator().manual_seed(1)).float(), torch.zeros(3, 2))
    before, after = (one.render(one.deformed(z), pose, None) for one in (model, moved))
    assert float((before - after).norm() / before.norm()) < 0.01


def test_the_map_at_rest_is_that_of_the_conformation(model: FlexModel, origin: torch.Tensor, rebase: Rebase) -> None:
    moved, grid = rebase(model, origin), model.grid
    carried = CarriedMap(model.density.volume(grid), grid, model.deformation, model.density.home()).at(origin)
    low = slice(1, grid.n_shells // 2)
    assert fourier_shell_correlation(moved.density.volume(grid), carried)[low].min() > 0.97
    away = fourier_shell_correlation(moved.density.volume(grid), model.density.volume(grid))[low]
    assert away.min() < fourier_shell_correlation(moved.density.volume(grid), carried)[low].min() - 0.01


def test_landmarks_and_flow_begin_where_the_conformation_is(
    model: FlexModel, origin: torch.Tensor, rebase: Rebase
) -> None:
    moved, z = rebase(model, origin), (origin - 1.0)[None]
    before = model.density.landmarks()
    at_origin = before + model.deformation.displacement(origin[None], before)[0]
    torch.testing.assert_close(moved.density.landmarks(), at_origin, atol=1e-3, rtol=0)
    still = moved.deformation.displacement(origin[None], at_origin)
    torch.testing.assert_close(still, torch.zeros_like(still), atol=1e-3, rtol=0)
    gone = at_origin + moved.deformation.displacement(z, at_origin)[0]
    expected = before + model.deformation.displacement(z, before)[0]
    assert float((gone - expected).norm(dim=1).median()) < 0.1


def test_each_half_rests_where_its_particles_are_on_the_average(run: Run) -> None:
    rest_at_the_mean(run)
    stored = json.loads((run.path / ALIGNMENT).read_text())
    for number in (1, 2):
        half = load_half(run, number)
        assert len(stored[f"half{number}"]) == half.latents.mean.shape[1]
        points = half.model.density.landmarks().detach()
        displaced = half.displacements(half.latents.mean, points)
        mean, spread = displaced.mean(dim=0), displaced.std(dim=0).norm(dim=1)
        moving = spread > 0.5 * spread.max()
        assert float(mean[moving].norm(dim=1).mean()) < 0.25 * float(spread[moving].mean())
        # Asked again, it stays.
        again = mean_conformation(half)
        assert float(half.displacements(again[None], points).norm(dim=2).mean()) < 0.05 * float(spread.max())
