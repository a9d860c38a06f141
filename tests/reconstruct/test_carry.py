"""A map that is carried is where the motion says, as sharp as before, and has the mass that it had."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dynaflex import fourier
from dynaflex.deformation.base import Deformation, Moves
from dynaflex.grid import Grid
from dynaflex.imaging.spread import spread
from dynaflex.reconstruct.carry import CarriedMap, carried_mask
from dynaflex.reconstruct.field import FAR, NEAR
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation

GRID = Grid(40, 3.0)
ONE = torch.ones(1)


class Moving(Deformation):
    """Sends every point x to ``x + z displacement(x)``."""

    def __init__(self, displacement: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.field = displacement

    def at(self, points: Tensor) -> Moves:
        moved = self.field(points)
        return lambda latents: latents[:, :1, None] * moved


def molecule(*, offset: tuple[float, float, float] = (0.0, 0.0, 0.0), turn: Tensor | None = None) -> Tensor:
    """A few Gaussian blobs near the middle, turned about it and then shifted: their values, not their masses."""
    centres = torch.tensor([[0.0, 0.0, 0.0], [14.0, 3.0, -5.0], [-9.0, 12.0, 6.0], [4.0, -11.0, 10.0]])
    places = centres @ (torch.eye(3) if turn is None else turn).T + torch.tensor(offset)
    distance = torch.cdist(GRID.points(), places)
    return torch.exp(-0.5 * (distance / 5.0).square()).sum(dim=1).view((GRID.box,) * 3)


def carried(volume: Tensor, displacement: Callable[[Tensor], Tensor], home: Tensor | None = None) -> Tensor:
    everywhere = GRID.points() if home is None else home
    return CarriedMap(volume, GRID, Moving(displacement), everywhere).at(ONE)


def test_a_map_that_goes_nowhere_is_the_map() -> None:
    noise = torch.randn((GRID.box,) * 3, generator=torch.Generator().manual_seed(0))
    noise = fourier.low_pass(noise, GRID, 2.0 * GRID.pixel_size / 0.9)
    still = carried(noise, torch.zeros_like)
    assert (still - noise).abs().max() < 0.01 * noise.abs().max()


@pytest.mark.parametrize("offset", [(6.0, -3.0, 9.0), (1.4, 0.3, -2.2)], ids=["whole voxels", "parts of voxels"])
def test_a_shifted_map_is_shifted_and_not_blurred(offset: tuple[float, float, float]) -> None:
    shifted = carried(molecule(), lambda x: torch.tensor(offset).expand_as(x))
    torch.testing.assert_close(shifted, molecule(offset=offset), atol=5e-3, rtol=0)


def test_a_turned_map_is_turned_and_not_blurred() -> None:
    angle = torch.tensor(0.6)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0.0], [angle.sin(), angle.cos(), 0.0], [0.0, 0.0, 1.0]])
    turned, truth = carried(molecule(), lambda x: x @ turn.T - x), molecule(turn=turn)
    inside = GRID.radius_of_points().view(truth.shape) < 45.0
    torch.testing.assert_close(turned[inside], truth[inside], atol=1e-2, rtol=0)
    # Beyond a third of Nyquist blobs of this width hold next to nothing.
    assert fourier_shell_correlation(turned, truth)[1 : GRID.n_shells // 3].min() > 0.999


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_mass_is_conserved_where_the_flow_squeezes_or_stretches(factor: float) -> None:
    volume = molecule()
    squeezed = carried(volume, lambda x: (factor - 1.0) * x)
    assert float(squeezed.sum()) == pytest.approx(float(volume.sum()), rel=0.01)
    assert float(squeezed.max()) / float(volume.max()) == pytest.approx(factor**-3, rel=0.25)


def test_what_is_far_from_the_density_stays() -> None:
    noise = torch.randn((GRID.box,) * 3, generator=torch.Generator().manual_seed(1))
    volume = fourier.low_pass(noise, GRID, 12.0)
    home = torch.tensor([[9.0, 0.0, 0.0]])
    moving = CarriedMap(volume, GRID, Moving(lambda x: torch.full_like(x, 9.0)), home)
    distance = (GRID.points() - home).norm(dim=1)
    assert bool((distance[moving.voxels] < FAR).all())
    gone = (moving.places(ONE) - moving.points).norm(dim=1)
    near = distance[moving.voxels] < NEAR
    torch.testing.assert_close(gone[near], torch.full_like(gone[near], 9.0 * 3.0**0.5))
    beyond = distance[moving.voxels] > NEAR + 1.0
    assert gone[beyond].max() < 9.0 * 3.0**0.5 - 0.1
    untouched = (distance > FAR + 24.0).view(volume.shape)
    # Band-limited, what lands elsewhere rings, but hardly so far away.
    torch.testing.assert_close(moving.at(ONE)[untouched], volume[untouched], atol=0.05, rtol=0)


def test_a_window_and_a_choice_of_voxels_show_the_same_molecule() -> None:
    volume = molecule()
    flow = Moving(lambda x: torch.tensor([4.0, 1.0, -2.0]).expand_as(x))
    within = volume > 1e-3
    center = torch.tensor([100.0, -50.0, 20.0])
    part = CarriedMap(volume, GRID, flow, GRID.points()[within.flatten()] + center, center=center, within=within)
    assert len(part.points) == int(within.sum())
    torch.testing.assert_close(part.at(ONE), molecule(offset=(4.0, 1.0, -2.0)), atol=5e-3, rtol=0)


def test_masses_outside_the_box_are_lost_and_the_others_keep_their_sum() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [10.3, -4.1, 7.7], [900.0, 0.0, 0.0]])
    assert float(spread(points, torch.tensor([1.0, 2.0, 4.0]), GRID).sum()) == pytest.approx(3.0, rel=1e-5)


def test_a_mask_goes_with_the_molecule_and_stays_a_mask() -> None:
    mask = (molecule() * 3.0).clamp(max=1.0)
    mask = torch.where(mask > 0.02, mask, 0.0)
    still, home = Moving(torch.zeros_like), GRID.points()
    assert torch.equal(carried_mask(mask, GRID, still, home, ONE), mask)
    gone = Moving(lambda x: torch.tensor([6.0, -3.0, 9.0]).expand_as(x))
    torch.testing.assert_close(carried_mask(mask, GRID, gone, home, ONE), mask.roll((3, -1, 2), (0, 1, 2)))
    squeezed = carried_mask(mask, GRID, Moving(lambda x: -0.4 * x), home, ONE)
    assert squeezed.max() <= 1.0 and squeezed.sum() < 0.4 * mask.sum()


def test_no_crumb_of_a_mask_stands_alone() -> None:
    ball = (GRID.radius_of_points() < 36.0).float().view((GRID.box,) * 3)
    edge, away = torch.tensor([0.0, 0.0, -36.0]), torch.tensor([0.0, 0.0, -18.0])
    torn = Moving(lambda x: torch.where((x - edge).norm(dim=1, keepdim=True) < 3.5, away, 0.0))
    left = carried_mask(ball, GRID, torn, GRID.points(), ONE)
    beyond = (GRID.points()[:, 2] < -45.0).view(ball.shape)
    assert not left[beyond].any() and left.sum() > 0.98 * ball.sum()
