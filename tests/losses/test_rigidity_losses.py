"""What cells are strained by, and how stiff that makes them."""

from __future__ import annotations

import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.kernels import RigidityTable
from dynaflex.losses.rigidity import amounts, rigidity, stiffness, strains
from dynaflex.mesh.build import lattice
from dynaflex.mesh.refine import refine
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

GRID = Grid(16, 3.0)
MESH: TetMesh = lattice(torch.ones(16, 16, 16, dtype=torch.bool), GRID, 3)
WEIGHTS = torch.rand(len(MESH.cells), generator=torch.Generator().manual_seed(2)) + 0.5


def moved(amount: float, conformations: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return MESH.vertices + amount * torch.randn(conformations, *MESH.vertices.shape, generator=generator)


@pytest.mark.parametrize("amount", [0.1, 2.0, 10.0])
def test_the_energy_is_the_weighted_sum_of_the_strains(amount: float) -> None:
    energy = rigidity(moved(amount), RigidityTable(MESH.vertices, MESH.cells, WEIGHTS))
    assert torch.allclose(strains(moved(amount), MESH) @ WEIGHTS, energy, rtol=1e-3)


def test_what_turns_is_not_strained_and_what_stretches_is_by_the_square() -> None:
    turned = MESH.vertices @ random_rotations(4, torch.Generator().manual_seed(3)).float().transpose(1, 2) + 7.0
    assert strains(turned, MESH).max() < 1e-8
    stretched = MESH.vertices * torch.tensor([1.2, 1.0, 0.7])
    assert torch.allclose(strains(stretched[None], MESH), torch.tensor(0.2**2 + 0.3**2), atol=1e-5)


@pytest.mark.parametrize("cells", [2, 4, 5])
def test_the_energy_of_a_motion_does_not_depend_on_the_cells_it_is_told_by(cells: int) -> None:
    everything = torch.ones(16, 16, 16, dtype=torch.bool)
    stretch = torch.tensor([1.1, 1.0, 0.8])
    for mesh in (lattice(everything, GRID, cells), refine(MESH, GRID.radius_of_points().view(16, 16, 16) < 12, GRID)):
        energy = rigidity((mesh.vertices * stretch)[None], RigidityTable(mesh.vertices, mesh.cells, amounts(mesh)))
        assert float(energy) == pytest.approx(4.8**3 * (0.1**2 + 0.2**2), rel=1e-4)


@pytest.mark.parametrize("amount", [1e-6, 1.0, 1e3])
def test_cells_that_are_strained_alike_stay_as_stiff_as_they_were(amount: float) -> None:
    assert torch.allclose(stiffness(torch.full_like(WEIGHTS, amount), WEIGHTS), WEIGHTS)


def test_without_strain_nothing_changes() -> None:
    assert torch.equal(stiffness(torch.zeros_like(WEIGHTS), WEIGHTS), WEIGHTS)


def test_only_the_shares_of_the_strain_count() -> None:
    strain = torch.rand(len(WEIGHTS), generator=torch.Generator().manual_seed(4))
    assert torch.allclose(stiffness(strain, WEIGHTS), stiffness(1e-4 * strain, WEIGHTS))


def test_the_more_a_cell_gave_the_softer_it_is_and_the_inside_of_a_domain_is_a_few_times_stiffer() -> None:
    even = torch.ones(1000)
    strain = torch.zeros(1000)
    strain[:10] = torch.linspace(1.0, 2.0, 10)
    stiff = stiffness(strain, even)
    assert bool((stiff[:10].diff() < 0).all()) and torch.allclose(stiff[10:], torch.tensor(1.3 / 0.3))


def test_the_energy_touches_from_above_what_falls_with_the_logarithm() -> None:
    strain = torch.rand(len(WEIGHTS), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    weights = WEIGHTS.double()
    mean = (weights @ strain) / weights.sum()

    def penalty(values: Tensor) -> Tensor:
        return 1.3 * mean * (weights * (values / mean + 0.3).log()).sum()

    here = strain.clone().requires_grad_()
    (slope,) = torch.autograd.grad(penalty(here), here)
    stiff = stiffness(strain, weights)
    assert torch.allclose(slope, stiff)
    for seed in range(20):
        other = strain * torch.rand(len(strain), generator=torch.Generator().manual_seed(seed)) * 3
        assert penalty(other) <= penalty(strain) + stiff @ (other - strain) + 1e-9
