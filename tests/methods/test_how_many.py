"""Laws of the number of coordinates: what images tell is kept, what they do not tell is not."""

from __future__ import annotations

import math

import pytest
import torch

from dynaflex.methods.flex.how_many import by_information, needed
from dynaflex.shapes import Tensor

PARTICLES = 400


def evidence_of(gains: list[float], seed: int = 0) -> dict[int, Tensor]:
    """How much likelier each of some particles is for every coordinate, on the mean and with a spread of a nat."""
    generator = torch.Generator().manual_seed(seed)
    return {k: gain + torch.randn(PARTICLES, generator=generator) for k, gain in enumerate(gains)}


@pytest.mark.parametrize(
    ("gains", "kept"),
    [
        ([2.0, 0.5, 0.3], 3),
        ([2.0, 0.5, 0.1], 2),
        ([2.0, 0.5, -0.1], 2),
        ([2.0, 0.1, 0.1], 1),
        ([-1.0, -1.0], 1),
        ([2.0, -0.5, 0.5], 3),
    ],
)
def test_coordinates_go_as_long_as_the_last_one_is_not_missed(gains: list[float], kept: int) -> None:
    each = evidence_of(gains)

    def evidence(active: Tensor) -> Tensor:
        return torch.stack([each[k] * float(active[k]) for k in each]).sum(dim=0)

    assert needed(torch.ones(len(gains)), evidence, doubt=0.0).tolist() == [1.0] * kept + [0.0] * (len(gains) - kept)


def test_with_few_particles_what_is_missed_within_an_error_goes() -> None:
    """Nine particles, to each of which the second coordinate is worth half a nat, give or take two."""
    spread = torch.linspace(-1.0, 1.0, 9)
    worth = 0.5 + 2.0 * spread / spread.std()
    assert needed(torch.ones(2), lambda some: worth * some[1], doubt=0.0).tolist() == [1.0, 0.0]
    assert needed(torch.ones(2), lambda some: (worth + 0.5) * some[1], doubt=0.0).tolist() == [1.0, 1.0]


def test_what_was_given_up_stays_given_up() -> None:
    each = evidence_of([2.0, 5.0])
    active = torch.tensor([1.0, 0.0])
    assert torch.equal(needed(active, lambda some: each[0] * some[0] + each[1] * some[1], doubt=0.0), active)


@pytest.mark.parametrize(("worth", "doubt", "kept"), [(0.18, 2.0, 2), (0.18, 0.0, 1), (0.14, 2.0, 1), (0.22, 0.0, 2)])
def test_a_coordinate_that_may_be_worth_it_remains_while_in_doubt(worth: float, doubt: float, kept: int) -> None:
    """A hundred particles tell what the second coordinate is worth to 0.02 nats."""
    spread = torch.linspace(-1.0, 1.0, 100)
    each = worth + 0.2 * spread / spread.std()
    assert needed(torch.ones(2), lambda some: each * some[1], doubt).sum() == kept


def test_a_turn_finds_what_images_tell() -> None:
    """Images tell one direction to 0.1, and nothing of the other."""
    angle = math.radians(35.0)
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    covariance = (turn.T @ torch.diag(torch.tensor([0.01, 1.0])) @ turn).expand(50, 2, 2)
    found = by_information(covariance)
    torch.testing.assert_close(found @ found.T, torch.eye(2), rtol=0.0, atol=1e-5)
    turned = found @ covariance[0] @ found.T
    torch.testing.assert_close(turned, torch.diag(torch.tensor([0.01, 1.0])), rtol=0.0, atol=1e-4)
