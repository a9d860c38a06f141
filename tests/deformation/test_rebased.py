"""A motion told from another conformation is the same motion."""

from __future__ import annotations

import roma
import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.deformation.rebased import Rebased
from dynaflex.shapes import Tensor


class Bend(Deformation):
    """Space turns about z by an angle that grows along x, up to 0.5 rad for one unit of the latent, and shifts."""

    def at(self, points: Tensor) -> Moves:
        share = torch.sigmoid(points[:, 0] / 15.0)

        def moves(latents: Tensor) -> Tensor:
            turn = points.new_zeros(len(latents), len(points), 3)
            turn[:, :, 2] = 0.5 * latents[:, :1] * share
            turned = (roma.rotvec_to_rotmat(turn) @ points[:, :, None])[..., 0]
            return turned - points + latents[:, 1:, None] * points.new_tensor([0.0, 3.0, 1.0])

        return moves


def test_every_place_goes_where_it_went_before() -> None:
    motion, origin = Bend(), torch.tensor([0.6, -1.0])
    points = torch.empty(500, 3).uniform_(-30.0, 30.0, generator=torch.Generator().manual_seed(0))
    z = torch.tensor([[-1.2, 0.3], [0.0, 0.0], [0.6, -1.0]])
    there = points + motion.displacement(origin[None], points)[0]
    rebased = Rebased(motion, origin)
    torch.testing.assert_close(rebased.came_from(there), points, atol=2e-2, rtol=0)
    gone = there + rebased.displacement(z, there)
    torch.testing.assert_close(gone, points + motion.displacement(z, points), atol=2e-2, rtol=0)
    assert float(rebased.displacement(origin[None], there).abs().max()) == 0.0
    # It is not the same as taking off the displacement of the same place.
    naive = motion.displacement(z, there) - motion.displacement(origin[None], there)
    assert float((there + naive - gone).norm(dim=2).max()) > 1.0


def test_it_can_be_trained_through() -> None:
    rebased = Rebased(Bend(), torch.tensor([0.5, 0.2]))
    z = torch.tensor([[0.3, -0.4]], dtype=torch.float64, requires_grad=True)
    points = torch.tensor([[12.0, -5.0, 3.0], [-20.0, 8.0, 1.0]], dtype=torch.float64)
    rebased.double()
    assert torch.autograd.gradcheck(rebased.at(points), (z,))
