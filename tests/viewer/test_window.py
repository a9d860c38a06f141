"""The shown part of the box: nothing in it may be moved, and the contour means the same everywhere."""

from __future__ import annotations

import pytest
import torch

from dynaflex.density.contour import Coarse
from dynaflex.grid import Grid
from dynaflex.viewer.density.window import Molecule, Window

FULL = Grid(48, 2.0)


def blob(center: tuple[float, float, float], width: float = 7.0) -> torch.Tensor:
    """A Gaussian at x, y, z in Å."""
    distance = (FULL.points() - torch.tensor(center)).square().sum(dim=1)
    return torch.exp(-distance / (2 * width**2)).view(48, 48, 48)


@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (13.0, -9.0, 6.5)])
@pytest.mark.parametrize("largest", [16, 24, 96])
def test_what_is_cut_out_stays_where_it_is(center: tuple[float, float, float], largest: int) -> None:
    corners = torch.tensor(center) + 16.0 * torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    window = Window.around(corners, FULL, largest)
    assert window.grid.box <= largest
    volume = blob(center)
    for values in (window.cut(volume).flatten(), torch.from_numpy(window.sampled(volume.numpy())).flatten()):
        weight = values.clamp(min=0.05) - 0.05
        found = (window.points() * weight[:, None]).sum(dim=0) / weight.sum()
        assert (found - torch.tensor(center)).norm() < 0.15 * window.grid.pixel_size


def test_a_window_holds_its_points_and_no_more_than_the_box() -> None:
    points = torch.tensor([[-20.0, 0.0, 4.0], [10.0, 3.0, -30.0]])
    window = Window.around(points, FULL, 96)
    half = window.grid.width / 2
    assert ((points - window.center).abs() <= half).all() and window.side < 48
    everything = Window.around(100.0 * points, FULL, 96)
    assert everything.side == 48 and everything.first == (0, 0, 0)


def test_a_coarser_window_is_the_same_cube() -> None:
    window = Window.around(torch.tensor([[-20.0, 0.0, 4.0], [10.0, 3.0, -30.0]]), FULL, 96)
    coarse = window.coarser(16)
    assert coarse.grid.width == pytest.approx(window.grid.width) and coarse.grid.box == 16
    assert torch.equal(coarse.center, window.center)


def test_the_level_encloses_as_many_voxels_in_every_map() -> None:
    molecule = Molecule.of(Coarse.of(blob((4.0, 0.0, 0.0)), FULL, 12.0), FULL)
    for volume in (blob((4.0, 0.0, 0.0)), 5.0 * blob((-4.0, 0.0, 0.0)) - 1.0):
        assert int((volume > molecule.level(volume)).sum()) == molecule.enclosed
    assert molecule.weight.max() == 1.0 and molecule.weight[0, 0, 0] == 0.0
