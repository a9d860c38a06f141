"""Laws of a confined deformation: inside it is what it confines, beyond nothing moves."""

from __future__ import annotations

import torch

from dynaflex.deformation.confined import Confined
from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.deformation.lattice import OnLattice
from dynaflex.deformation.rebased import Rebased
from dynaflex.grid import Grid
from dynaflex.losses.graph import cut, neighbour_graph
from dynaflex.rotations import point_group
from dynaflex.symmetry.asymmetric_unit import unit_towards

GRID = Grid(24, 6.0)
UNIT = unit_towards(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), GRID, point_group("C2"))
"""The half of space with positive x."""


def decoder() -> CoordinateMLP:
    random = torch.Generator().manual_seed(0)
    network = CoordinateMLP(2, GRID.width, layers=3, width=16, generator=random)
    network.w_out.data = torch.randn(network.w_out.shape, generator=random) * 0.05
    return network


def points() -> torch.Tensor:
    return (torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) - 0.5) * 100.0


def test_inside_it_is_free_and_beyond_nothing_moves() -> None:
    network, where, z = decoder(), points(), torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    confined, free = Confined(network, 12.0, UNIT, GRID.width), OnLattice(network, 12.0)
    moved, all_of_it = confined.displacement(z, where), free.displacement(z, where)
    inside, beyond = where[:, 0] > 18.0, where[:, 0] < -18.0
    assert torch.allclose(moved[:, inside], all_of_it[:, inside], atol=2e-2)
    assert float(all_of_it.detach().norm(dim=2).mean()) > 0.1
    assert float(moved[:, beyond].abs().max()) < 0.01 * float(all_of_it.abs().max())


def test_the_weight_is_that_of_the_voxel() -> None:
    weight = Confined(decoder(), 12.0, UNIT, GRID.width).weight(GRID.points())
    assert torch.allclose(weight, UNIT.flatten(), atol=1e-5)


def test_from_another_conformation_it_goes_where_it_went() -> None:
    confined, where, z = Confined(decoder(), 12.0, UNIT, GRID.width), points(), torch.tensor([[0.5, -1.0]])
    origin = torch.tensor([0.2, 0.3])
    moved = where + confined.displacement(origin[None], where)[0].detach()
    there = moved + Rebased(confined, origin).displacement(z, moved)[0]
    assert torch.allclose(there, where + confined.displacement(z, where)[0], atol=0.05)


def test_no_edge_of_a_graph_that_is_cut_crosses_the_cut() -> None:
    where = points()
    graph, inside = neighbour_graph(where), where[:, 0] > 0.0
    apart = cut(graph, inside)
    assert 0 < len(apart.edges) < len(graph.edges)
    assert (inside[apart.edges[:, 0]] == inside[apart.edges[:, 1]]).all()
