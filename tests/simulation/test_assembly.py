"""Laws of a simulated assembly: units are one another turned, stay apart, and move each for itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.judge.unit_scene import UnitScene
from dynaflex.rotations import point_group
from dynaflex.simulation.assembly import make_assembly
from dynaflex.simulation.motions import make_motion
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import Truth, read_truth
from dynaflex.symmetry.asymmetric_unit import unit_towards


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("assembly")
    simulate(folder, 40, 32, 6.0, 1.0, "hinge", 0, symmetry="C4")
    return read_truth(folder / "truth.npz")


@pytest.mark.parametrize("name", ["C2", "C4", "D2", "T"])
def test_units_are_one_another_turned_and_stay_apart(name: str) -> None:
    molecule, group = make_assembly(400.0, 0, name), point_group(name).numpy()
    units = molecule.points.reshape(len(group), -1, 3)
    for unit, rotation in zip(units, group, strict=True):
        assert np.allclose(unit, units[0] @ rotation.T)
    assert cKDTree(units[0]).query(units[1])[0].min() > 2.0
    assert np.abs(molecule.points).max() < 200.0
    assert len(molecule.joints) == len(group) and set(molecule.domain) == set(range(len(group) + 1))


def test_arms_move_each_for_itself(truth: Truth) -> None:
    assert truth.coordinate.shape == (40, 4) and truth.symmetry == "C4"
    assert np.abs(np.corrcoef(truth.coordinate.T) - np.eye(4)).max() < 0.6


def test_other_motions_and_boxes_too_small_are_refused() -> None:
    with pytest.raises(UsageError) as motion:
        make_motion("twist", make_assembly(192.0, 0, "C4"))
    assert motion.value.identifier == "simulate.symmetry"
    with pytest.raises(UsageError) as small:
        make_assembly(70.0, 0, "I")
    assert small.value.identifier == "simulate.box-too-small"


def test_a_copy_shows_the_unit_that_its_operation_puts_in_place(truth: Truth) -> None:
    """Whichever unit a run took: the whole assembly of a particle, turned back, has that unit as the scene says."""
    group = point_group("C4")
    for k in range(4):
        towards = torch.from_numpy(truth.points.reshape(4, -1, 3)[k].mean(axis=0))
        scene = UnitScene(truth, unit_towards(towards, Grid(32, 6.0), group))
        assert scene.which == k
        said = scene.points + scene.displacement(scene.points, scene.domain, scene.coordinate)
        for particle, copy in ((0, 0), (3, 1), (7, 2), (7, 3)):
            whole = truth.motion.displace(truth.points, truth.domain, truth.coordinate[particle])
            turned_back = whole @ group[copy].numpy()
            distance, _ = cKDTree(turned_back).query(said[4 * particle + copy])
            assert distance.max() < 1e-6


def test_the_truth_outlives_its_file(truth: Truth, tmp_path: Path) -> None:
    truth.save(tmp_path / "truth.npz")
    assert read_truth(tmp_path / "truth.npz").symmetry == "C4"
