"""Isometry and repulsion are blind to rigid motion, see strain, and the graph is dense enough to be rigid."""

from __future__ import annotations

import math

import pytest
import torch

from dynaflex.losses.graph import fixed_graph, neighbour_graph
from dynaflex.losses.isometry import deformed_lengths, isometry, weight_of
from dynaflex.losses.repulsion import repulsion
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor


def cloud(count: int = 400) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 60


def test_rigid_motion_costs_nothing() -> None:
    points = cloud()
    graph = neighbour_graph(points)
    rotation = random_rotations(3, torch.Generator().manual_seed(1)).float()
    moved = points @ rotation.transpose(1, 2) + torch.tensor([5.0, -3.0, 8.0])
    lengths = deformed_lengths(moved, graph)
    assert isometry(lengths, graph).max() < 1e-8
    assert repulsion(lengths, graph).max() < 1e-8


@pytest.mark.parametrize("scale", [0.8, 1.3])
def test_scaling_costs_its_closed_form(scale: float) -> None:
    points = cloud()
    graph = neighbour_graph(points)
    lengths = deformed_lengths(points[None] * scale, graph)
    expected = ((scale - 1) * graph.rest).square().mean()
    assert torch.allclose(isometry(lengths, graph), expected[None], rtol=1e-4)
    # The edges held by repulsion are those below c_mean; stretching frees them.
    tau = graph.rest.clamp(max=graph.spacing)
    squeezed = (tau - scale * graph.rest).clamp(min=0).square().mean()
    assert torch.allclose(repulsion(lengths, graph), squeezed[None], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", [300, 3000])
def test_a_strain_costs_as_much_as_the_matter_that_it_strains(count: int) -> None:
    """Whatever number of Gaussians it is told by: a shear has the strain e_xy = e_yx."""
    points, shear = cloud(count), 0.01
    graph = neighbour_graph(points)
    moved = points.clone()
    moved[:, 0] += 2.0 * shear * points[:, 1]
    energy = weight_of(0.5, 80_000.0, graph) * isometry(deformed_lengths(moved[None], graph), graph)
    assert float(energy) == pytest.approx(0.5 * 80.0 * 2.0 * shear**2, rel=0.25)


def test_papers_graph_is_all_pairs_within_one_and_a_half_spacings() -> None:
    points = cloud(200)
    distance = torch.cdist(points.double(), points.double())
    spacing = distance.topk(3, largest=False).values[:, 1:].mean()
    expected = int(((distance < 1.5 * spacing).sum() - 200) / 2)
    graph = neighbour_graph(points, None)
    assert math.isclose(graph.spacing, float(spacing), rel_tol=1e-6)
    assert len(graph.edges) == expected


def test_default_graph_is_dense_enough_to_be_rigid() -> None:
    graph = neighbour_graph(cloud(1000))
    degree = torch.bincount(graph.edges.flatten(), minlength=1000)
    assert degree.float().mean() >= 12
    assert degree.min() >= 3
    assert len(torch.unique(graph.edges, dim=0)) == len(graph.edges)
    assert (graph.edges[:, 0] != graph.edges[:, 1]).all()
    sparse = neighbour_graph(cloud(1000), None)
    assert torch.bincount(sparse.edges.flatten(), minlength=1000).float().mean() < 6


def test_bonds_of_a_model_are_kept_as_given() -> None:
    edges = torch.tensor([[0, 1], [1, 2]])
    points = torch.tensor([[0.0, 0, 0], [3, 0, 0], [3, 4, 0]])
    graph = fixed_graph(points, edges)
    assert torch.equal(graph.rest, torch.tensor([3.0, 4.0]))
    moved = points.clone()
    moved[2, 1] = 6.0
    assert torch.allclose(isometry(deformed_lengths(moved[None], graph), graph), torch.tensor([(2.0**2) / 2]))


def test_a_graph_needs_an_edge() -> None:
    with pytest.raises(ValueError, match="no edges"):
        fixed_graph(cloud(3), torch.zeros(0, 2, dtype=torch.long))
