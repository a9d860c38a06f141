"""Laws of a mesh: affine inside a cell, exact about what lies where, and refused where it cannot be a mesh."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.mesh import search
from dynaflex.mesh.build import lattice
from dynaflex.mesh.tetmesh import TetMesh, validated, without_unused_vertices


def everywhere(box: int) -> torch.Tensor:
    return torch.ones(box, box, box, dtype=torch.bool)


@pytest.fixture
def regular() -> TetMesh:
    return lattice(everywhere(12), Grid(12, 2.5), 3)


@pytest.fixture(params=["regular", "irregular"])
def mesh(request: pytest.FixtureRequest) -> TetMesh:
    return request.getfixturevalue(request.param)


def test_an_affine_flow_is_reproduced_in_every_cell(mesh: TetMesh) -> None:
    generator = torch.Generator().manual_seed(0)
    M = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    destinations = mesh.vertices.double() @ M.transpose(1, 2) + shift[:, None]
    A, b = mesh.affine(destinations)
    assert torch.allclose(A, M[:, None].expand_as(A), atol=1e-4)
    assert torch.allclose(b, shift[:, None].expand_as(b), atol=1e-3)


def test_a_cell_takes_its_vertices_where_they_go(mesh: TetMesh) -> None:
    destinations = mesh.vertices + torch.randn(3, *mesh.vertices.shape, generator=torch.Generator().manual_seed(1))
    A, b = mesh.affine(destinations)
    corners = mesh.vertices[mesh.cells]
    moved = torch.einsum("btij,taj->btai", A, corners) + b[:, :, None]
    assert torch.allclose(moved, destinations[:, mesh.cells], atol=2e-3)


def test_affine_passes_gradients_to_the_vertices(regular: TetMesh) -> None:
    destinations = regular.vertices.double()[None].requires_grad_()
    A, b = regular.affine(destinations)
    (A.sum() + b.sum()).backward()
    assert destinations.grad is not None
    assert bool(destinations.grad.abs().sum(dim=2).min() > 0)


def test_shape_gradients_sum_to_zero_and_tell_the_corners_apart(mesh: TetMesh) -> None:
    G = mesh.shape_gradients()
    assert float(G.sum(dim=1).abs().max()) < 1e-5 * float(G.abs().max())
    corners = mesh.vertices[mesh.cells]
    along = torch.einsum("taj,tbj->tab", G, corners - corners[:, :1])
    assert torch.allclose(along[:, 1:, 1:], torch.eye(3).expand(len(G), 3, 3), atol=1e-3)


def test_barycentric_weights_place_a_point(mesh: TetMesh) -> None:
    generator = torch.Generator().manual_seed(2)
    cell = torch.randint(len(mesh.cells), (200,), generator=generator)
    points = 10.0 * torch.randn(200, 3, generator=generator, dtype=torch.float64)
    weights = mesh.barycentric(points, cell)
    assert torch.allclose(weights.sum(dim=1), torch.ones(200, dtype=torch.float64))
    placed = torch.einsum("na,naj->nj", weights, mesh.vertices.double()[mesh.cells[cell]])
    assert torch.allclose(placed, points, atol=1e-8)


def test_locate_finds_the_first_cell_that_holds_a_point(mesh: TetMesh) -> None:
    generator = torch.Generator().manual_seed(4)
    spread = torch.tensor([3.0, 12.0, 25.0]).repeat_interleave(400)[:, None]
    points = spread * torch.randn(1200, 3, generator=generator, dtype=torch.float64)
    G, c = mesh.shape_functions()
    inside = (torch.einsum("taj,nj->nta", G, points) + c > -1e-9).all(dim=2)
    expected = torch.where(inside.any(dim=1), inside.long().argmax(dim=1), -1)
    assert torch.equal(mesh.locate(points), expected)
    assert bool((expected < 0).any()) and len(torch.unique(expected)) > 20


def test_locate_works_in_portions(irregular: TetMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    points = 20.0 * torch.randn(300, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = irregular.locate(points)
    monkeypatch.setattr(search, "_PAIRS_AT_ONCE", 7)
    assert torch.equal(irregular.locate(points), expected)


def test_a_vertex_lies_in_a_cell_of_its_own(mesh: TetMesh) -> None:
    found = mesh.locate(mesh.vertices)
    assert bool((found >= 0).all())
    weights = mesh.barycentric(mesh.vertices.double(), found)
    assert bool((weights > -1e-6).all())


def test_locate_without_points_finds_nothing(regular: TetMesh) -> None:
    assert regular.locate(torch.zeros(0, 3)).shape == (0,)
    assert regular.locate(torch.full((2, 3), 1e6)).tolist() == [-1, -1]


def test_moved_keeps_the_cells(regular: TetMesh) -> None:
    moved = regular.moved(2.0 * regular.vertices)
    assert torch.equal(moved.cells, regular.cells)
    assert torch.allclose(moved.volumes(), 8.0 * regular.volumes())


def test_edges_join_every_pair_of_a_cell_once() -> None:
    mesh = lattice(everywhere(2), Grid(2, 1.0), 1)
    # A cube of five tetrahedra: its twelve edges, and one diagonal of every face.
    assert len(mesh.edges()) == 18
    assert mesh.edge_length() == pytest.approx((12 * 2.0 + 6 * 8**0.5) / 18)


def test_parts_are_what_cells_connect(regular: TetMesh) -> None:
    both = TetMesh(
        torch.cat([regular.vertices, regular.vertices + 100.0]),
        torch.cat([regular.cells, regular.cells + len(regular.vertices)]),
        regular.weights.repeat(2),
        regular.segment.repeat(2),
        regular.fixed.repeat(2),
    )
    expected = torch.arange(2).repeat_interleave(len(regular.vertices))
    assert torch.equal(both.parts(), expected)


def test_to_carries_everything(regular: TetMesh) -> None:
    there = regular.to(torch.device("meta"))
    assert {there.vertices.device, there.cells.device, there.weights.device, there.segment.device} == {
        torch.device("meta")
    }
    assert there.fixed.is_meta


def test_unused_vertices_can_be_left_out(regular: TetMesh) -> None:
    more = replace(
        regular,
        vertices=torch.cat([torch.zeros(1, 3), regular.vertices]),
        cells=regular.cells + 1,
        fixed=torch.cat([torch.tensor([False]), regular.fixed]),
    )
    fewer = without_unused_vertices(more)
    assert torch.equal(fewer.vertices, regular.vertices)
    assert torch.equal(fewer.cells, regular.cells)


def test_inverted_cells_are_turned(regular: TetMesh) -> None:
    inverted = regular.cells.clone()
    inverted[::2] = inverted[::2][:, [1, 0, 2, 3]]
    mesh = validated(replace(regular, cells=inverted))
    assert bool((mesh.volumes() > 0).all())
    assert torch.equal(mesh.cells.sort(dim=1).values, regular.cells.sort(dim=1).values)


def _with(tensor: torch.Tensor, index: tuple[int, ...], value: float) -> torch.Tensor:
    changed = tensor.clone()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("identifier", "spoil"),
    [
        ("mesh.empty", lambda m: replace(m, cells=m.cells[:0], weights=m.weights[:0], segment=m.segment[:0])),
        ("mesh.not-finite", lambda m: replace(m, vertices=_with(m.vertices, (5, 1), float("nan")))),
        ("mesh.weight", lambda m: replace(m, weights=_with(m.weights, (2,), -1.0))),
        ("mesh.weight", lambda m: replace(m, weights=_with(m.weights, (2,), float("inf")))),
        ("mesh.no-such-vertex", lambda m: replace(m, cells=_with(m.cells, (7, 2), len(m.vertices)))),
        ("mesh.no-such-vertex", lambda m: replace(m, cells=_with(m.cells, (7, 2), -1))),
        ("mesh.flat-cell", lambda m: replace(m, cells=_with(m.cells, (7, 2), int(m.cells[7, 3])))),
        ("mesh.unused-vertex", lambda m: replace(m, vertices=torch.cat([m.vertices, torch.zeros(1, 3)]))),
    ],
)
def test_what_cannot_be_a_mesh_is_refused(regular: TetMesh, identifier: str, spoil: object) -> None:
    with pytest.raises(InputError) as caught:
        validated(spoil(regular))  # type: ignore[operator]
    assert caught.value.identifier == identifier
