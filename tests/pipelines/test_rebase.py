"""A half that is brought to another conformation is there whole: its images stay, its map, landmarks and flow go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.imaging.pose import Pose
from dynaflex.model import FlexModel
from dynaflex.pipelines.flex.build import rebase
from dynaflex.pipelines.predict import ALIGNMENT, load_half
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.rotations import random_rotations
from dynaflex.run.directory import Run
from dynaflex.validate.fsc import fourier_shell_correlation

ORIGIN = torch.tensor([0.8, -0.5])


@pytest.fixture(scope="module")
def model(flex_run: Path) -> FlexModel:
    return load_half(Run.open(flex_run), 1).model


def test_particles_look_as_before(model: FlexModel) -> None:
    moved = rebase(model, ORIGIN)
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    pose = Pose(random_rotations(3, torch.Generator().manual_seed(1)).float(), torch.zeros(3, 2))
    before, after = (one.render(one.deformed(z), pose, None) for one in (model, moved))
    assert float((before - after).abs().max() / before.abs().max()) < 1e-4


def test_the_map_at_rest_is_that_of_the_conformation(model: FlexModel) -> None:
    moved, grid = rebase(model, ORIGIN), model.grid
    carried = CarriedMap(model.density.volume(grid), grid, model.deformation, model.density.home()).at(ORIGIN)
    assert fourier_shell_correlation(moved.density.volume(grid), carried)[1 : grid.n_shells // 2].min() > 0.98
    away = fourier_shell_correlation(moved.density.volume(grid), model.density.volume(grid))
    assert away[1 : grid.n_shells // 2].min() < 0.97


def test_landmarks_and_flow_begin_where_the_conformation_is(model: FlexModel) -> None:
    moved, z = rebase(model, ORIGIN), torch.tensor([[-1.0, 0.4]])
    before = model.density.landmarks()
    at_origin = before + model.deformation.displacement(ORIGIN[None], before)[0]
    torch.testing.assert_close(moved.density.landmarks(), at_origin, atol=1e-3, rtol=0)
    still = moved.deformation.displacement(ORIGIN[None], at_origin)
    torch.testing.assert_close(still, torch.zeros_like(still), atol=1e-3, rtol=0)
    gone = at_origin + moved.deformation.displacement(z, at_origin)[0]
    expected = before + model.deformation.displacement(z, before)[0]
    assert float((gone - expected).norm(dim=1).median()) < 0.05


def test_the_half_that_a_run_aligned_is_read_in_its_new_conformation(flex_run: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(flex_run, tmp_path / "run"))
    run.write_json(ALIGNMENT, {"half2": ORIGIN.tolist()})
    half, plain = load_half(run, 2), load_half(Run.open(flex_run), 1)
    assert isinstance(half.model.deformation, MeshFlow)
    torch.testing.assert_close(half.model.deformation.origin, ORIGIN)
    voxels = half.model.grid.points()[half.model.density.voxels]
    assert float((half.model.density.home() - voxels).norm(dim=1).max()) > 0.5
    torch.testing.assert_close(plain.model.density.home(), plain.model.grid.points()[plain.model.density.voxels])
