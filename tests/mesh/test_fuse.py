"""Laws of fusing: one vertex where connected segments touch, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.mesh.build import lattice
from dynaflex.mesh.fuse import SegmentedMesh, segmented_mesh, shared_vertices
from dynaflex.mesh.segments import Pair, contacts, parse_connections
from dynaflex.mesh.tetmesh import TetMesh, validated
from dynaflex.mesh.voxels import cell_of_voxels, cells_touching
from dynaflex.shapes import Tensor

CELLS = 14


@pytest.fixture
def base(grid: Grid, arms: Tensor) -> TetMesh:
    return lattice(arms >= 0, grid, CELLS)


def fused(base: TetMesh, labels: Tensor, grid: Grid, text: str, *, separate: bool = False) -> SegmentedMesh:
    connections = parse_connections(text) if text else []
    return segmented_mesh(base, labels, grid, connections, contacts(labels, grid), separate=separate)


def shared_positions(mesh: TetMesh, pair: Pair) -> Tensor:
    first, second = (torch.unique(mesh.cells[mesh.segment == segment]) for segment in pair)
    return mesh.vertices[first[torch.isin(first, second)]]


@pytest.mark.parametrize("text", ["0>1,0>2", "0>1,0>2,1>2", "0>1,1>2", "1>2,0>2"])
def test_connected_segments_are_fused_near_their_contact_and_others_nowhere(
    base: TetMesh, arms: Tensor, grid: Grid, text: str
) -> None:
    mesh = fused(base, arms, grid, text).mesh
    connections = parse_connections(text)
    longest = 2**0.5 * grid.width / CELLS
    for contact in contacts(arms, grid):
        positions = shared_positions(mesh, contact.pair).double()
        if contact.pair in connections:
            assert len(positions) >= 10
            assert float(torch.cdist(positions, contact.faces).amin(dim=1).max()) <= longest + 1e-3
        else:
            assert len(positions) == 0
        assert shared_vertices(mesh, contact.pair) == len(positions)
    assert int(mesh.parts().max()) == 0


def test_without_connections_every_segment_is_a_part_of_its_own(base: TetMesh, arms: Tensor, grid: Grid) -> None:
    mesh = fused(base, arms, grid, "", separate=True).mesh
    part = mesh.parts()[mesh.cells]
    assert int(part.max()) == 2
    for segment in range(3):
        assert len(torch.unique(part[mesh.segment == segment])) == 1


def test_all_connections_give_back_the_regular_mesh_near_the_contacts(base: TetMesh, arms: Tensor, grid: Grid) -> None:
    mesh = fused(base, arms, grid, "0>1,0>2,1>2").mesh
    places, count = torch.unique(mesh.vertices, dim=0, return_counts=True)
    assert torch.equal(places, torch.unique(base.vertices, dim=0))
    assert int((count > 1).sum()) == 0


def test_a_cut_lets_neighbours_move_on_their_own(base: TetMesh, arms: Tensor, grid: Grid) -> None:
    """Opening one arm displaces no voxel of the other, and no voxel of the body far from the joint."""
    result = fused(base, arms, grid, "0>1,0>2")
    mesh = result.mesh
    joint = torch.unique(mesh.cells[mesh.segment != 1])
    moving = torch.ones(len(mesh.vertices), dtype=torch.bool)
    moving[joint] = False
    displacement = torch.where(moving[:, None], torch.tensor([-10.0, 0.0, 0.0]), 0.0)
    carrier = cell_of_voxels(mesh, grid, arms)
    for segment in (0, 2):
        assert bool((displacement[mesh.cells[carrier[arms == segment]]] == 0).all())
    assert float(displacement[mesh.cells[carrier[arms == 1]]].abs().mean()) > 2.0


def test_every_voxel_has_a_cell_of_its_segment_also_at_a_finer_sampling(
    base: TetMesh, arms: Tensor, grid: Grid
) -> None:
    mesh = fused(base, arms, grid, "0>1,0>2").mesh
    finer = Grid(2 * grid.box, grid.pixel_size / 2)
    shifted = (finer.axis() / grid.pixel_size + grid.center + 0.5).floor().long().clamp(max=grid.box - 1)
    for labels, here in ((arms, grid), (arms[shifted[:, None, None], shifted[None, :, None], shifted], finer)):
        carrier = cell_of_voxels(mesh, here, labels)
        assert torch.equal(carrier >= 0, labels >= 0)
        assert torch.equal(mesh.segment[carrier[labels >= 0]], labels[labels >= 0])


def test_a_segment_has_the_cells_it_touches(base: TetMesh, arms: Tensor, grid: Grid) -> None:
    mesh = validated(fused(base, arms, grid, "0>1,0>2").mesh)
    for segment in range(3):
        own = base.cells[cells_touching(base, arms == segment, grid)]
        corners = mesh.vertices[mesh.cells[mesh.segment == segment]]
        assert torch.equal(corners.sum(dim=1), base.vertices[own].sum(dim=1))


def test_a_gap_is_not_bridged() -> None:
    """Two plates, a gap between them thinner than a cell, in contact at one end only."""
    grid = Grid(40, 2.0)
    z, y, x = torch.meshgrid(*[grid.axis()] * 3, indexing="ij")
    long = (y.abs() < 11) & (z > -36) & (z < 36)
    labels = torch.full((grid.box,) * 3, -1)
    labels[long & (x < 3) & (x > -16)] = 0
    labels[long & (x > 7) & (x < 22)] = 1
    labels[long & (z < -28) & (x >= 3) & (x <= 7)] = 1
    base = lattice(labels >= 0, grid, 8)
    common = cells_touching(base, labels == 0, grid) & cells_touching(base, labels == 1, grid)
    assert float(base.vertices[base.cells[common], 2].max()) > 25.0, "cells reach across the gap all along"
    joint = shared_positions(fused(base, labels, grid, "0>1").mesh, (0, 1))
    assert len(joint) >= 3
    assert float(joint[:, 2].max()) < -28.0 + 2**0.5 * grid.width / 8


def test_the_nearer_contact_wins_whichever_connection_comes_first(base: TetMesh, arms: Tensor, grid: Grid) -> None:
    first, second = (fused(base, arms, grid, text).mesh for text in ("0>1,0>2", "0>2,0>1"))
    assert torch.equal(first.cells, second.cells)
    assert torch.equal(first.vertices, second.vertices)


def test_contested_vertices_are_told(base: TetMesh, arms: Tensor, grid: Grid) -> None:
    assert any("segments 1 and 2 are not connected" in text for text in fused(base, arms, grid, "0>1,0>2").warnings)
    assert fused(base, arms, grid, "0>1,0>2,1>2").warnings == ()


def test_a_joint_that_can_turn_is_told() -> None:
    """A thin pillar inside another segment: nearly all vertices at its foot are nearer to the contact around it."""
    grid = Grid(16, 2.0)
    labels = torch.full((16,) * 3, -1)
    labels[4:8, 2:14, 2:14] = 0
    labels[8:12, 2:14, 2:14] = 1
    labels[8:12, 7, 7] = 2
    result = fused(lattice(labels >= 0, grid, 4), labels, grid, "0>1,0>2")
    assert shared_vertices(result.mesh, (0, 2)) < 3
    assert any(text.startswith("segments 0 and 2 share only") for text in result.warnings)
    assert not any(text.startswith("segments 0 and 1 share only") for text in result.warnings)


def test_a_ring_of_segments_can_be_closed() -> None:
    """Not only trees: four quarters of a plate, each connected to the next."""
    grid = Grid(24, 2.0)
    z, y, x = torch.meshgrid(*[grid.axis()] * 3, indexing="ij")
    plate = (z.abs() < 7) & (x.abs() < 20) & (y.abs() < 20)
    quarter = (x >= 0).long() + 2 * (y >= 0).long()
    labels = torch.where(plate, torch.tensor([0, 1, 3, 2])[quarter], -1)
    base = lattice(plate, grid, 8)
    ring = fused(base, labels, grid, "0>1,1>2,2>3,3>0").mesh
    chain = fused(base, labels, grid, "0>1,1>2,2>3").mesh
    assert min(shared_vertices(ring, pair) for pair in ((0, 1), (1, 2), (2, 3), (0, 3))) >= 3
    assert shared_vertices(chain, (0, 3)) == 0
    assert shared_vertices(ring, (0, 2)) == shared_vertices(ring, (1, 3)) == 0
    assert len(ring.vertices) < len(chain.vertices)


@pytest.mark.parametrize(
    ("text", "identifier", "told"),
    [
        ("0>1,0>5", "fuse.no-such-segment", "segment 5"),
        ("0>1", "fuse.unconnected", '--fuse "'),
        ("", "fuse.unconnected", "0 | 1 | 2"),
    ],
)
def test_connections_that_cannot_be_are_refused(
    base: TetMesh, arms: Tensor, grid: Grid, text: str, identifier: str, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        fused(base, arms, grid, text)
    assert caught.value.identifier == identifier
    assert told in str(caught.value)


def test_segments_that_do_not_touch_cannot_be_fused(arms: Tensor, grid: Grid) -> None:
    apart = arms.clone()
    apart[..., grid.center - 2 : grid.center + 2] = torch.where(apart[..., 22:26] > 0, -1, apart[..., 22:26])
    with pytest.raises(InputError, match="do not touch") as caught:
        fused(lattice(apart >= 0, grid, CELLS), apart, grid, "0>1,1>2")
    assert caught.value.identifier == "fuse.no-contact"
    assert "one of 0" in str(caught.value)
