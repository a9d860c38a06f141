"""Laws of a state as all particles show it: what its own see otherwise is taken over, and noise is not."""

from __future__ import annotations

import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.products.states.combined import combined
from dynaflex.shapes import Tensor

GRID = Grid(32, 3.0)
FEW, ALL = 0.3, 0.1
"""The noise of a state's own half-maps and of those that are carried there."""


def blob(center: float, width: float) -> Tensor:
    """A ball of density on the x axis, in Å."""
    away = GRID.points() - torch.tensor([center, 0.0, 0.0])
    return torch.exp(-0.5 * away.square().sum(dim=1) / width**2).view(32, 32, 32)


def halves(true: Tensor, noise: float, seed: int) -> dict[int, Tensor]:
    """Two maps of it that differ by white noise."""
    random = torch.Generator().manual_seed(seed)
    return {half: true + noise * torch.randn(true.shape, generator=random) for half in (1, 2)}


def mean(maps: dict[int, Tensor]) -> Tensor:
    return 0.5 * (maps[1] + maps[2])


MOLECULE, GUEST = 8.0 * blob(-12.0, 9.0), 4.0 * blob(20.0, 6.0)
MASK = (MOLECULE > 0.5).float()
"""The guest lies beside it."""


def test_what_only_the_state_has_is_shown() -> None:
    found = mean(combined(halves(MOLECULE + GUEST, FEW, 1), halves(MOLECULE, ALL, 2), 3.0, MASK))
    share = float((found - MOLECULE).flatten() @ GUEST.flatten() / GUEST.square().sum())
    assert share > 0.85
    assert (found - MOLECULE - GUEST).norm() < 0.5 * (mean(halves(MOLECULE + GUEST, FEW, 1)) - MOLECULE - GUEST).norm()


@pytest.mark.parametrize("seed", range(5))
def test_where_the_motion_is_all_there_is_the_state_costs_nothing(seed: int) -> None:
    carried = halves(MOLECULE, ALL, 10 + seed)
    found = mean(combined(halves(MOLECULE, FEW, seed), carried, 3.0, MASK))
    assert (found - MOLECULE).norm() < 1.02 * (mean(carried) - MOLECULE).norm()


def test_what_one_half_alone_sees_is_not_taken_over() -> None:
    own, carried = halves(MOLECULE, FEW, 1), halves(MOLECULE, ALL, 2)
    found = combined({1: own[1] + GUEST, 2: own[2]}, carried, 3.0, MASK)
    share = float((found[1] - carried[1]).flatten() @ GUEST.flatten() / GUEST.square().sum())
    assert abs(share) < 0.05


def test_more_is_never_added_than_differs() -> None:
    own, carried = halves(MOLECULE + GUEST, FEW, 1), halves(MOLECULE, ALL, 2)
    found = combined(own, carried, 3.0, MASK)
    for half in (1, 2):
        added, offered = (one - carried[half] for one in (found[half], own[half]))
        assert 0.0 < added.norm() < 0.5 * offered.norm()
