"""Laws of the unit of a symmetric map: with its copies it is whole, and what is not symmetric is found out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dynaflex.errors import InputError
from dynaflex.fourier import low_pass
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.reconstruct.postprocess import from_unit, symmetrise
from dynaflex.rotations import axis_angle_to_matrix, point_group
from dynaflex.shapes import Tensor
from dynaflex.symmetry.asymmetric_unit import (
    direction_of_least_cut,
    is_assembly,
    require_symmetric,
    self_correlation,
    turned,
    unit_towards,
    unit_within,
    whole_of,
)

GRID = Grid(32, 6.0)
GENERAL = torch.tensor([0.8, 0.35, 0.49], dtype=torch.float64)
INSIDE = (GRID.radius_of_points() < 80.0).view(32, 32, 32)


def whole(unit: Tensor, name: str) -> Tensor:
    return torch.stack([turned(unit, rotation) for rotation in point_group(name)]).sum(dim=0)[INSIDE]


@pytest.mark.parametrize("name", ["C2", "C3", "C7", "D2", "D3", "T", "O", "I"])
def test_a_unit_and_its_copies_are_a_whole(name: str) -> None:
    unit = unit_towards(GENERAL, GRID, point_group(name))
    total = whole(unit, name)
    # Read between voxels, where cuts meet, it is so on average.
    assert float((total - 1.0).abs().mean()) < 0.05 and float(total.mean()) == pytest.approx(1.0, abs=0.02)
    assert float((unit * INSIDE).sum() / INSIDE.sum()) == pytest.approx(1.0 / len(point_group(name)), rel=0.15)


def ball(centre: tuple[float, float, float], radius: float) -> Tensor:
    distance = (GRID.points() - torch.tensor(centre)).norm(dim=1)
    return (0.5 + (radius - distance) / 12.0).clamp(0.0, 1.0).view(32, 32, 32)


def test_a_mask_of_one_unit_means_that_unit() -> None:
    group, mask = point_group("C3"), ball((45.0, 0.0, 10.0), 25.0)
    unit = unit_within(mask, GRID, group)
    assert float((whole(unit, "C3") - 1.0).abs().mean()) < 0.05
    assert float(unit[mask > 0.9].min()) > 0.9
    for rotation in group[1:]:
        assert float(unit[turned(mask, rotation) > 0.9].max()) < 0.1
    assert not is_assembly(mask, group) and is_assembly(whole_of(mask, group), group)


def test_the_cut_goes_where_there_is_least() -> None:
    group = point_group("C3")
    density = whole_of(ball((45.0, 20.0, 10.0), 30.0), group)
    direction, cut = direction_of_least_cut(density, GRID, group)
    unit = unit_towards(direction, GRID, group)
    shares = torch.stack([(unit * turned(ball((45.0, 20.0, 10.0), 30.0), r)).sum() for r in group])
    assert float(shares.max() / shares.sum()) > 0.97
    assert 0.0 <= cut < 0.2


def test_the_map_of_an_assembly_is_its_own(trimers: Path) -> None:
    volume, group = torch.from_numpy(read_map(trimers / "consensus.mrc").data), point_group("C3")
    assert require_symmetric(Path("m"), volume, GRID, group, "C3", 20.0) == []
    assert self_correlation(volume, GRID, group, 20.0) > 0.99


@pytest.mark.parametrize("name", ["C2", "C4", "D3", "T"])
def test_a_group_that_a_map_has_not_is_refused_with_what_was_measured(trimers: Path, name: str) -> None:
    volume, group = torch.from_numpy(read_map(trimers / "consensus.mrc").data), point_group(name)
    found = self_correlation(volume, GRID, group, 20.0)
    with pytest.raises(InputError) as caught:
        require_symmetric(Path("map.mrc"), volume, GRID, group, name, 20.0)
    assert caught.value.identifier == "symmetry.map" and f"{found:.2f}" in str(caught.value)


@pytest.mark.parametrize("how", ["off the axis", "tilted"])
def test_an_axis_elsewhere_is_refused(trimers: Path, how: str) -> None:
    volume = torch.from_numpy(read_map(trimers / "consensus.mrc").data)
    tilt = axis_angle_to_matrix(torch.tensor([1.0, 0.0, 0.0]), torch.tensor(math.radians(20.0)))
    moved = torch.roll(volume, 2, 2) if how == "off the axis" else turned(volume, tilt)
    with pytest.raises(InputError):
        require_symmetric(Path("map.mrc"), moved, GRID, point_group("C3"), "C3", 20.0)


def test_a_symmetric_map_is_made_of_its_unit(trimers: Path) -> None:
    volume, group = torch.from_numpy(read_map(trimers / "consensus.mrc").data), point_group("C3")
    # Nothing that rotations of a map this coarse would lose.
    volume = low_pass(volume, GRID, 18.0)
    unit = unit_towards(GENERAL, GRID, group)
    made, same = from_unit(volume, unit, group), symmetrise(volume, group)
    assert float((made - same).norm() / same.norm()) < 0.03
    # What lies beside the unit has no part in it.
    spoilt = torch.where(unit < 0.02, low_pass(volume, GRID, 60.0), volume)
    assert float((from_unit(spoilt, unit, group) - same).norm() / same.norm()) < 0.1
    assert float((symmetrise(spoilt, group) - same).norm() / same.norm()) > 0.2
