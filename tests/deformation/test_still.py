"""Laws of what stands still: a whole that moves is taken off, a part that moves stays, in any units and any frame."""

from __future__ import annotations

import pytest
import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.deformation.still import Apart, FromStill, Still, rigid_motions
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

PARTICLES, POINTS = 60, 400


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


POINTS_AT_REST = 20.0 * random(POINTS, 3, seed=0)
ARM = POINTS_AT_REST[:, 0] > 12.0
MASS = torch.rand(POINTS, generator=torch.Generator().manual_seed(1)) + 0.5


def swinging_arm(swing: float = 0.2) -> Tensor:
    """The arm turns about z where it hangs on the body, ``(b n 3)``; the body stands still."""
    angle = swing * torch.linspace(-1.0, 1.0, PARTICLES)
    from_joint = POINTS_AT_REST - torch.tensor([12.0, 0.0, 0.0])
    turned = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]).expand_as(from_joint), from_joint)
    return angle[:, None, None] * turned * ARM[:, None]


def of_the_whole(seed: int = 2) -> Tensor:
    """Every particle shifted by an Å, and turned by 2 degrees, some way."""
    amounts = random(PARTICLES, 6, seed=seed) * torch.tensor([1.0, 1.0, 1.0, 0.035, 0.035, 0.035])
    return torch.einsum("ba,acn->bnc", amounts, rigid_motions(POINTS_AT_REST))


def rms(displacements: Tensor) -> float:
    centred = displacements - displacements.mean(dim=0)
    return float(centred.square().sum(dim=2).mean().sqrt())


def found_in(displacements: Tensor, points: Tensor = POINTS_AT_REST) -> Still:
    still = Still(points)
    still.find(displacements, MASS)
    return still


def test_nothing_is_taken_off_before_it_is_known_and_after_it_is_forgotten() -> None:
    still, whole = Still(POINTS_AT_REST), of_the_whole()
    assert not still.known and not bool(still.moved(whole).any())
    still.find(whole, MASS)
    assert still.known
    still.forget()
    assert not still.known and not bool(still.moved(whole).any())


def test_a_motion_of_the_whole_is_all_taken_off() -> None:
    whole = of_the_whole()
    assert rms(whole - found_in(whole).moved(whole)) < 1e-4 * rms(whole)


def test_a_part_that_moves_keeps_its_motion_and_the_rest_of_the_molecule_stands_still() -> None:
    arm = swinging_arm()
    together = arm + of_the_whole()
    within = together - found_in(together).moved(together)
    assert rms(together[:, ~ARM]) > 1.5
    assert rms(within[:, ~ARM]) < 0.05
    assert rms(within[:, ARM] - arm[:, ARM]) < 0.05 * rms(arm[:, ARM])


def test_what_stands_still_stays_where_it_is() -> None:
    arm = swinging_arm()
    assert rms(found_in(arm).moved(arm)) < 0.01 * rms(arm)


def test_of_a_molecule_that_is_twisted_the_middle_stands_still() -> None:
    """No part is at rest: the frame must not wander to another height."""
    height = POINTS_AT_REST[:, 2] - POINTS_AT_REST[:, 2].median()
    about_z = rigid_motions(POINTS_AT_REST)[5].T
    twisted = 0.005 * torch.linspace(-1.0, 1.0, PARTICLES)[:, None, None] * height[:, None] * about_z
    still = found_in(twisted)
    for _ in range(5):
        still.find(twisted, MASS)
    taken = still.amounts(twisted)[:, 5].abs().max()
    assert float(taken) < 0.15 * 0.005 * float(height.abs().max())


def test_a_rigid_displacement_is_the_sum_of_rigid_motions() -> None:
    amounts = random(5, 6, seed=8)
    together = torch.einsum("ba,acn->bnc", amounts, rigid_motions(POINTS_AT_REST))
    torch.testing.assert_close(found_in(together).moved(together), together, rtol=1e-3, atol=1e-2)


def test_the_units_do_not_matter() -> None:
    together = swinging_arm() + of_the_whole()
    larger = found_in(3.0 * together, 3.0 * POINTS_AT_REST)
    torch.testing.assert_close(
        larger.moved(3.0 * together), 3.0 * found_in(together).moved(together), rtol=1e-3, atol=1e-3
    )


def test_the_axes_do_not_matter() -> None:
    together = swinging_arm() + of_the_whole()
    turn = random_rotations(1, torch.Generator().manual_seed(5))[0].float()
    turned = found_in(together @ turn.T, POINTS_AT_REST @ turn.T)
    torch.testing.assert_close(
        turned.moved(together @ turn.T), found_in(together).moved(together) @ turn.T, rtol=1e-3, atol=1e-3
    )


def test_how_many_small_masses_make_a_point_does_not_matter() -> None:
    together = swinging_arm() + of_the_whole()
    doubled = Still(torch.cat([POINTS_AT_REST, POINTS_AT_REST]))
    doubled.find(torch.cat([together, together], dim=1), torch.cat([0.3 * MASS, 0.7 * MASS]))
    expected = found_in(together).moved(together)
    moved = doubled.moved(torch.cat([together, together], dim=1))
    torch.testing.assert_close(moved[:, :POINTS], expected, rtol=1e-3, atol=1e-3)


class Swinging(Deformation):
    """The arm swings and the whole is displaced, by the latent and by whatever point."""

    def at(self, points: Tensor) -> Moves:
        arm, motions = (points[:, 0] > 12.0)[:, None], rigid_motions(points)
        turned = torch.linalg.cross(
            torch.tensor([0.0, 0.0, 1.0]).expand_as(points), points - torch.tensor([12.0, 0, 0])
        )

        def moved(latents: Tensor) -> Tensor:
            whole = torch.einsum("ba,acn->bnc", latents[:, 1:], motions)
            return 0.2 * latents[:, :1, None] * turned * arm + whole

        return moved


def test_a_motion_is_told_from_what_stands_still_at_any_point() -> None:
    latents = random(PARTICLES, 7, seed=6) * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.03, 0.03, 0.03])
    motion, elsewhere = FromStill(Swinging()), 20.0 * random(100, 3, seed=7)
    assert torch.equal(motion.displacement(latents, elsewhere), Swinging().displacement(latents, elsewhere))
    motion.find_still(latents, POINTS_AT_REST, MASS)
    alone = torch.cat([latents[:, :1], torch.zeros(PARTICLES, 6)], dim=1)
    error = motion.displacement(latents, elsewhere) - Swinging().displacement(alone, elsewhere)
    assert rms(error) < 0.1
    apart = motion.apart(motion)
    both = apart.displacement(latents.repeat(1, 2), elsewhere)
    torch.testing.assert_close(both, Swinging().displacement(latents, elsewhere), rtol=1e-3, atol=1e-3)


class Resting(Deformation):
    """Nothing moves."""

    def at(self, points: Tensor) -> Moves:
        return lambda latents: torch.zeros(len(latents), len(points), 3)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_whole_takes_all_points_along_with_what_stands_still(seed: int) -> None:
    whole, elsewhere = of_the_whole(), 30.0 * random(50, 3, seed=seed)
    together = whole + swinging_arm()
    # A latent names a particle; the first of the two, of the motion within, has no say here.
    apart = Apart(Resting(), found_in(together), lambda latents: together[latents[:, 0].long()])
    some = torch.arange(0, PARTICLES, 7)
    amounts = torch.linalg.lstsq(rigid_motions(POINTS_AT_REST).flatten(1).T, whole.transpose(1, 2).flatten(1).T)
    expected = torch.einsum("ab,acn->bnc", amounts.solution, rigid_motions(elsewhere))[some]
    latents = torch.stack([torch.ones(len(some)), some.float()], dim=1)
    assert rms(apart.displacement(latents, elsewhere) - expected) < 0.1 * rms(expected)
    torch.testing.assert_close(apart.carry(latents, elsewhere), elsewhere + apart.displacement(latents, elsewhere))
