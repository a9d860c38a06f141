"""Laws of the flow generator: at rest at z = 0, linear inside tetrahedra, still where it is held."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.deformation.still import rigid_motions
from dynaflex.grid import Grid
from dynaflex.mesh.build import lattice
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cell_of_voxels

GRID = Grid(16, 4.0)


@pytest.fixture(scope="module")
def mesh() -> TetMesh:
    radius = GRID.radius_of_points().view(16, 16, 16)
    return lattice(radius < 20.0, GRID, 5)


def flow_on(mesh: TetMesh, seed: int = 0) -> MeshFlow:
    cell = cell_of_voxels(mesh, GRID).flatten()
    inside = cell >= 0
    generator = torch.Generator().manual_seed(seed)
    return MeshFlow(
        mesh, 2, GRID.points()[inside], cell[inside], GRID.pixel_size, width=16, start=3.0, generator=generator
    )


def test_nothing_moves_at_the_origin_of_the_latents_and_something_does_elsewhere(mesh: TetMesh) -> None:
    flow = flow_on(mesh)
    moved = flow.vertex_displacement(torch.tensor([[0.0, 0.0], [1.0, -0.5]]))
    assert float(moved[0].detach().abs().max()) == 0.0
    assert float(moved[1].detach().abs().max()) > 0.1


def test_what_anchors_have_in_common_stays_however_the_network_changes_until_it_is_settled(mesh: TetMesh) -> None:
    flow, origin = flow_on(mesh), torch.zeros(1, 2)
    anchors = torch.tensor([[1.0, 0.2], [-0.4, 1.0], [0.1, -0.7], [0.5, 0.5]])
    before = flow.vertex_displacement(anchors).detach()
    flow.settle(anchors)
    torch.testing.assert_close(flow.vertex_displacement(anchors).detach(), before)
    flow.network.w_latent.data += 0.3
    after = flow.vertex_displacement(anchors).detach()
    torch.testing.assert_close(after.mean(dim=0), before.mean(dim=0), rtol=1e-4, atol=1e-4)
    assert (
        float((after - before).abs().max()) > 0.1 and float(flow.vertex_displacement(origin).detach().abs().max()) > 0.1
    )
    flow.settle(anchors)
    assert float(flow.vertex_displacement(origin).detach().abs().max()) < 1e-4


def test_it_starts_near_the_identity_whatever_the_latents(mesh: TetMesh) -> None:
    cell = cell_of_voxels(mesh, GRID).flatten()
    inside = cell >= 0
    flow = MeshFlow(mesh, 2, GRID.points()[inside], cell[inside], 4.0, generator=torch.Generator().manual_seed(0))
    moved = flow.vertex_displacement(torch.randn(64, 2, generator=torch.Generator().manual_seed(1)))
    assert 0.0 < float(moved.detach().square().sum(dim=2).mean().sqrt()) < 2.0


def test_held_vertices_never_move(mesh: TetMesh) -> None:
    fixed = torch.zeros(len(mesh.vertices), dtype=torch.bool)
    fixed[::3] = True
    moved = flow_on(replace(mesh, fixed=fixed)).vertex_displacement(torch.ones(1, 2))[0].detach()
    assert float(moved[fixed].abs().max()) == 0.0
    assert float(moved[~fixed].abs().min(dim=1).values.max()) > 0.0


def test_points_move_with_the_tetrahedron_that_holds_them(mesh: TetMesh) -> None:
    flow, z = flow_on(mesh), torch.tensor([[0.7, -1.1]])
    vertices = flow.vertex_displacement(z)[0]
    inside = torch.nn.functional.normalize(torch.rand(50, 4, generator=torch.Generator().manual_seed(2)), p=1.0, dim=1)
    cells = mesh.cells[torch.randint(len(mesh.cells), (50,), generator=torch.Generator().manual_seed(3))]
    points = (mesh.vertices[cells] * inside[..., None]).sum(dim=1)
    found = mesh.locate(points)
    expected = (vertices[mesh.cells[found]] * mesh.barycentric(points, found)[..., None]).sum(dim=1)
    # A point moves with the cell of the voxel it is nearest to: the gradient of a neighbour, over less than a voxel.
    gradient = float((mesh.affine((mesh.vertices + vertices)[None])[0] - torch.eye(3)).detach().abs().amax())
    error = (flow.displacement(z, points)[0] - expected).detach().norm(dim=1)
    assert float(error.max()) < 4.0 * GRID.pixel_size * gradient
    assert float(error.median()) < 0.1 * float(expected.detach().norm(dim=1).median())


def test_voxels_move_exactly_with_their_own_cell(mesh: TetMesh) -> None:
    flow, z = flow_on(mesh), torch.tensor([[0.7, -1.1]])
    vertices = flow.vertex_displacement(z)[0]
    weights = mesh.barycentric(flow.sites, flow.site_cell)
    expected = (vertices[mesh.cells[flow.site_cell]] * weights[..., None]).sum(dim=1)
    torch.testing.assert_close(flow.displacement(z, flow.sites)[0], expected)


def test_a_point_far_outside_moves_like_the_nearest_voxel(mesh: TetMesh) -> None:
    flow, z = flow_on(mesh), torch.tensor([[0.7, -1.1]])
    far = torch.tensor([[200.0, 0.0, 0.0]])
    nearest = flow.sites[(flow.sites - far).norm(dim=1).argmin()][None]
    torch.testing.assert_close(flow.displacement(z, far), flow.displacement(z, nearest))


def test_equal_seeds_give_equal_flows_and_others_do_not(mesh: TetMesh) -> None:
    z = torch.ones(1, 2)
    one, same, other = (flow_on(mesh, seed).vertex_displacement(z) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_nothing_moves_along_a_coordinate_that_was_given_up(mesh: TetMesh) -> None:
    flow = flow_on(mesh)
    flow.active[1] = 0.0
    moved = flow.vertex_displacement(torch.tensor([[0.0, 3.0], [0.7, 0.0], [0.7, 3.0]])).detach()
    assert float(moved[0].abs().max()) == 0.0
    assert torch.equal(moved[1], moved[2]) and float(moved[1].abs().max()) > 0.1


def test_latents_may_be_turned_if_the_flow_is_told(mesh: TetMesh) -> None:
    flow, z = flow_on(mesh), torch.tensor([[0.7, -1.1], [2.0, 0.3]])
    before = flow.vertex_displacement(z).detach()
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    flow.turn(turn)
    torch.testing.assert_close(flow.vertex_displacement(z @ turn.T).detach(), before, rtol=1e-4, atol=1e-4)


def test_segments_that_lie_over_each_other_can_part(mesh: TetMesh) -> None:
    """The vertices of one stand twice, as where a mesh is cut, and an update pulls the two apart."""
    count = len(mesh.vertices)
    twice = TetMesh(
        torch.cat([mesh.vertices, mesh.vertices]),
        torch.cat([mesh.cells, mesh.cells + count]),
        mesh.weights.repeat(2),
        torch.cat([mesh.segment, mesh.segment + 1]),
        mesh.fixed.repeat(2),
    )
    flow, z = flow_on(twice), torch.tensor([[0.7, -1.1]])
    one, other = flow.vertex_displacement(z)[0].split(count)
    assert torch.equal(one, other)
    (one - other.detach() - 1.0).square().sum().backward()
    with torch.no_grad():
        assert flow.of_segment.grad is not None
        flow.of_segment -= 0.1 * flow.of_segment.grad / flow.of_segment.grad.norm()
    one, other = flow.vertex_displacement(z)[0].detach().split(count)
    assert float((one - other).norm(dim=1).min()) > 1e-4


def test_once_it_is_found_what_stands_still_does_in_every_conformation(mesh: TetMesh) -> None:
    """Of a flow that turns all and bends one end."""
    flow, latents = flow_on(mesh), torch.randn(64, 2, generator=torch.Generator().manual_seed(4))
    before = flow.vertex_displacement(latents).detach()
    heavy = mesh.vertices[:, 0] < 0.0
    flow.find_still(latents, torch.where(heavy, 1.0, 0.01))
    after = flow.vertex_displacement(latents).detach()
    assert float(after[:, heavy].var(dim=0).sum()) < 0.8 * float(before[:, heavy].var(dim=0).sum())
    taken = rigid_motions(mesh.vertices).flatten(1).T
    off = (before - after).transpose(1, 2).flatten(1).T
    left = off - taken @ torch.linalg.lstsq(taken, off).solution
    assert float(left.norm()) < 1e-4 * float(off.norm())


def test_what_stands_still_does_not_depend_on_which_conformation_is_at_rest(mesh: TetMesh) -> None:
    flow, latents = flow_on(mesh), torch.randn(64, 2, generator=torch.Generator().manual_seed(4))
    flow.find_still(latents, torch.ones(len(mesh.vertices)))
    origin = torch.tensor([0.4, -0.7])
    expected = flow.vertex_displacement(latents) - flow.vertex_displacement(origin[None])
    torch.testing.assert_close(flow.rebased(origin).vertex_displacement(latents), expected, rtol=1e-4, atol=1e-4)


def test_latents_of_its_own_say_of_the_whole_what_one_latent_says_of_both(mesh: TetMesh) -> None:
    flow, latents = flow_on(mesh), torch.randn(64, 2, generator=torch.Generator().manual_seed(4))
    before = flow.carry(latents, mesh.vertices).detach()
    flow.find_still(latents, torch.ones(len(mesh.vertices)))
    apart, nowhere = flow.apart(), torch.zeros_like(latents)
    both = apart.carry(latents.repeat(1, 2), mesh.vertices)
    torch.testing.assert_close(both.detach(), before, rtol=1e-4, atol=1e-4)
    within = apart.carry(torch.cat([latents, nowhere], dim=1), mesh.vertices)
    torch.testing.assert_close(within, flow.carry(latents, mesh.vertices))
