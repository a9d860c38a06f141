"""A deformation read from a lattice: exact where it must be, the same for a point whatever else is asked."""

from __future__ import annotations

import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.deformation.lattice import OnLattice
from dynaflex.shapes import Tensor

SPACING = 7.0


class Affine(Deformation):
    """Moves x by ``z_0 M x + z_1 t``, and remembers where it was asked."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.matrix = torch.randn(3, 3, generator=generator, dtype=torch.float64)
        self.asked = torch.zeros(0, 3)

    def at(self, points: Tensor) -> Moves:
        self.asked = points
        return lambda latents: latents[:, :1, None] * (points @ self.matrix.T) + latents[:, 1:, None]


def scattered(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 20.0


def latents(count: int) -> Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def stirred() -> OnLattice:
    decoder = CoordinateMLP(2, 200.0, layers=4, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        decoder.w_out.copy_(torch.randn(decoder.w_out.shape, generator=torch.Generator().manual_seed(1)))
    return OnLattice(decoder, SPACING)


def test_an_affine_motion_is_exact_everywhere() -> None:
    truth = Affine()
    points, z = scattered(200), latents(3)
    assert torch.allclose(OnLattice(truth, SPACING).displacement(z, points), truth.displacement(z, points), atol=1e-9)


def test_at_its_nodes_it_is_the_network() -> None:
    deformation = stirred()
    nodes = torch.tensor([[0.0, 0.0, 0.0], [7.0, -14.0, 21.0], [-70.0, 7.0, 0.0]], dtype=torch.float64)
    z = latents(4)
    assert torch.allclose(deformation.displacement(z, nodes), deformation.network.displacement(z, nodes), atol=1e-9)


def test_between_its_nodes_it_comes_near_a_smooth_network() -> None:
    points, z = scattered(100), latents(2)
    fine, coarse = stirred(), stirred()
    fine.spacing = SPACING / 4
    truth = fine.network.displacement(z, points)
    errors = [(field.displacement(z, points) - truth).square().mean().sqrt() for field in (fine, coarse)]
    assert errors[0] < 0.15 * errors[1]


def test_a_point_moves_as_it_does_whatever_else_is_asked() -> None:
    deformation = stirred()
    points, z = scattered(60), latents(2)
    alone = deformation.displacement(z, points[7:9])
    assert torch.allclose(deformation.displacement(z, points)[:, 7:9], alone, atol=1e-9)


def test_the_network_is_asked_once_per_node_and_only_around_the_points() -> None:
    truth = Affine()
    points = torch.rand(5000, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3 * SPACING
    OnLattice(truth, SPACING).displacement(latents(1), points)
    assert len(truth.asked) == 4**3
    assert len(truth.asked.unique(dim=0)) == len(truth.asked)


def test_weights_are_those_of_a_mean() -> None:
    _, corners, weights = stirred().stencil(scattered(50))
    assert corners.shape == weights.shape == (50, 8)
    assert (weights >= 0.0).all()
    assert torch.allclose(weights.sum(dim=1), torch.ones(50, dtype=torch.float64))


def test_gradients_reach_latents_and_positions() -> None:
    deformation = stirred()
    # Kept away from the nodes, where a piecewise linear field has no derivative.
    points = (torch.rand(6, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 0.8 + 0.1) * SPACING
    points, z = points.requires_grad_(), latents(2).requires_grad_()
    assert torch.autograd.gradcheck(deformation.displacement, (z, points), eps=1e-6, atol=1e-5)


def test_identity_before_training() -> None:
    deformation = OnLattice(CoordinateMLP(2, 200.0), SPACING)
    points = scattered(20).float()
    assert torch.equal(deformation.carry(torch.randn(3, 2), points), points.expand(3, 20, 3))
