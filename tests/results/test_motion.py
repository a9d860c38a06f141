"""Laws of what is said about a motion: how far things move, and that a molecule is not folded over itself."""

from __future__ import annotations

import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.table import LatentTable
from dynaflex.model import FlexModel
from dynaflex.results.motion import folded, spread
from dynaflex.results.trained import TrainedHalf
from dynaflex.shapes import Tensor

GRID = Grid(32, 4.0)


class Squeezed(Deformation):
    """Takes x to (1 - z) x: turned inside out for z beyond 1."""

    def at(self, points: Tensor) -> Moves:
        return lambda latents: -latents[:, :1, None] * points


def half_of(deformation: Deformation, latents: Tensor) -> TrainedHalf:
    ones = torch.ones(1)
    table = LatentTable(len(latents), latents.shape[1], torch.Generator().manual_seed(0))
    model = FlexModel(GaussianDensity(torch.zeros(4, 3), ones, ones), deformation, table, GRID)
    return TrainedHalf(1, model, torch.arange(len(latents)), Posterior(latents, 0.0 * latents), ones, ones, ones, ones)


def test_the_spread_in_batches_is_the_covariance_of_all() -> None:
    moved = torch.randn(50, 7, 3, generator=torch.Generator().manual_seed(1)) + 40.0
    whole = torch.stack([moved[:, n].T.cov(correction=0) for n in range(7)])
    torch.testing.assert_close(spread(moved.split(8)).float(), whole, rtol=1e-4, atol=1e-4)


def test_a_conformation_turned_inside_out_is_folded_everywhere_and_no_other() -> None:
    latents = torch.tensor([[0.0], [0.5], [0.9], [1.2]])
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(2)) * 20.0
    assert folded(half_of(Squeezed(), latents), latents, points).tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_mirror_is_a_fold_though_nothing_is_stretched() -> None:
    class Mirror(Deformation):
        def at(self, points: Tensor) -> Moves:
            mirrored = -2.0 * points * points.new_tensor([1.0, 0.0, 0.0])
            return lambda latents: mirrored.expand(len(latents), -1, -1)

    z = torch.zeros(2, 1)
    assert folded(half_of(Mirror(), z), z, torch.randn(9, 3)).tolist() == [1.0, 1.0]
