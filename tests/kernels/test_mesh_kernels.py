"""Points carried by a mesh: native against reference, the laws of splat and gather, and the packing of the table."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial import Delaunay

from dynaflex import kernels
from dynaflex.kernels import MeshTable, compiled, native, reference
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

needs_native = pytest.mark.skipif(native.library() is None, reason="the C kernels were not compiled at install")

SPACING = 1.7


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lattice(side: int) -> Tensor:
    """Points of a cubic lattice about the origin, in Å, a fraction of a step away from it."""
    steps = torch.arange(side, dtype=torch.float64) - side // 2
    return torch.cartesian_prod(steps, steps, steps) * SPACING + 0.3


def irregular_mesh(points: Tensor, inner: int = 25) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices and cells of a Delaunay mesh around the points, some cells tiny and some long, and the points' cells."""
    reach = 1.2 * float(points.abs().max())
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3) * reach
    random = (torch.rand(inner, 3, generator=seeded(11), dtype=torch.float64) * 2 - 1) * reach
    vertices = torch.cat([corners, random])
    mesh = Delaunay(vertices.numpy())
    cell = torch.from_numpy(mesh.find_simplex(points.numpy())).long()
    return vertices, torch.from_numpy(mesh.simplices).long(), cell


POINTS = lattice(13)
VERTICES, CELLS, CELL = irregular_mesh(POINTS)
TABLE = MeshTable(VERTICES, CELLS, POINTS, CELL, SPACING)


def projections(batch: int, box: int, spread: float = 0.6) -> Tensor:
    """Pixel positions ``(b 2 v)`` of the vertices under random rotations and a random deformation."""
    moved = VERTICES + spread * torch.randn(batch, *VERTICES.shape, generator=seeded(3), dtype=torch.float64)
    rows = random_rotations(batch, seeded(4)).double()[:, :2]
    return rows @ moved.transpose(1, 2) + box // 2


def value_and_gradients(module: object, positions: Tensor, weights: Tensor, table: MeshTable, box: int) -> list[Tensor]:
    leaves = [positions.clone().requires_grad_(), weights.clone().requires_grad_()]
    images = module.mesh_splat(*leaves, table, box)  # type: ignore[attr-defined]
    probe = torch.randn(images.shape, generator=seeded(1), dtype=torch.float64).to(images.dtype)
    images.backward(probe)
    return [images.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def test_table_reproduces_every_point() -> None:
    assert torch.equal(TABLE.vertex, CELLS[CELL])
    carried = torch.einsum("nk,nkc->nc", TABLE.barycentric, VERTICES[TABLE.vertex])
    assert (carried - POINTS).abs().max() < 1e-10
    assert TABLE.barycentric.min() > -1e-9
    assert (TABLE.nodes, TABLE.count) == (len(VERTICES), len(POINTS))


def test_table_gives_every_point_a_slot_of_its_own() -> None:
    assert len(TABLE.slot.unique()) == TABLE.count and int(TABLE.slot.max()) < TABLE.slots


def test_table_reaches_further_than_int8() -> None:
    """Points that are few and far apart in one large cell: a segment of neighbours spans hundreds of steps."""
    line = torch.zeros(81, 3)
    line[:, 0] = torch.arange(-400.0, 401.0, 10.0)
    vertices = torch.tensor(
        [[-900.0, -900.0, -900.0], [900.0, -900.0, -900.0], [0.0, 900.0, -900.0], [0.0, 0.0, 900.0]]
    )
    table = MeshTable(vertices, torch.tensor([[0, 1, 2, 3]]), line, torch.zeros(81, dtype=torch.int64), 1.0)
    carried = torch.einsum("nk,nkc->nc", table.barycentric, vertices.double()[table.vertex])
    assert (carried - line).abs().max() < 1e-9
    positions = vertices[:, :2].T[None] * 0.1 + 64
    truth = value_and_gradients(reference, positions.double(), torch.ones(81).double(), table, 128)
    if native.library() is not None:
        ours = value_and_gradients(compiled, positions, torch.ones(81), table, 128)
        assert all((a - b).abs().max() < 1e-5 * b.abs().max() for a, b in zip(ours, truth, strict=True))


def test_table_refuses_what_it_cannot_carry() -> None:
    with pytest.raises(ValueError, match="every point needs one of"):
        MeshTable(VERTICES, CELLS, POINTS, torch.where(CELL == 3, -1, CELL), SPACING)
    with pytest.raises(ValueError, match="not on a lattice"):
        MeshTable(VERTICES, CELLS, POINTS, CELL, 1.05 * SPACING)
    flat = VERTICES.clone()
    flat[:, 2] = 0.0
    with pytest.raises(ValueError, match="no volume"):
        MeshTable(flat, CELLS, POINTS, CELL, SPACING)


def test_a_table_without_points_gives_empty_images() -> None:
    table = MeshTable(VERTICES, CELLS, POINTS[:0], CELL[:0], SPACING)
    for module in (reference, compiled) if native.library() is not None else (reference,):
        images, d_positions, d_weights = value_and_gradients(
            module, projections(2, 16).float(), torch.zeros(0), table, 16
        )
        assert images.abs().max() == 0 and d_positions.abs().max() == 0 and d_weights.shape == (0,)


# In the small boxes part of the points lies outside of the image.
@needs_native
@pytest.mark.parametrize(("batch", "box"), [(1, 40), (17, 40), (1, 12), (17, 12)])
def test_native_equals_reference(batch: int, box: int) -> None:
    positions = projections(batch, box)
    weights = torch.randn(TABLE.count, generator=seeded(2), dtype=torch.float64)
    ours = value_and_gradients(compiled, positions.float(), weights.float(), TABLE, box)
    truth = value_and_gradients(reference, positions.float().double(), weights.float().double(), TABLE, box)
    assert len(ours) == len(truth) == 3
    for a, b in zip(ours, truth, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


@needs_native
@pytest.mark.parametrize("batch", [1, 17])
def test_native_gather_equals_reference(batch: int) -> None:
    positions = projections(batch, 24).float()
    images = torch.randn(batch, 24, 24, generator=seeded(5))
    truth = reference.mesh_gather(positions.double(), images.double(), TABLE)
    assert (compiled.mesh_gather(positions, images, TABLE) - truth).abs().max() < 1e-5 * truth.abs().max()


@needs_native
def test_native_gradient_of_weights_alone_is_the_same() -> None:
    positions, weights = projections(3, 32).float(), torch.rand(TABLE.count, generator=seeded(6))
    _, _, truth = value_and_gradients(compiled, positions, weights, TABLE, 32)
    leaf = weights.requires_grad_()
    images = compiled.mesh_splat(positions, leaf, TABLE, 32)
    images.backward(torch.randn(images.shape, generator=seeded(1), dtype=torch.float64).float())
    assert leaf.grad is not None and torch.allclose(leaf.grad, truth, atol=1e-5)


@needs_native
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    positions, weights = projections(18, 32).float(), torch.rand(TABLE.count, generator=seeded(6))
    results = []
    try:
        for threads in (1, 3):
            native.set_threads(threads)
            results.append(value_and_gradients(compiled, positions, weights, TABLE, 32))
            results[-1].append(compiled.mesh_gather(positions, results[-1][0], TABLE))
    finally:
        native.set_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@needs_native
def test_far_and_non_finite_vertices_add_nothing() -> None:
    positions = projections(4, 32).float()
    for image, value in enumerate((float("nan"), float("inf"), 1e30, -1e9)):
        positions[image] = value
    images, d_positions, d_weights = value_and_gradients(compiled, positions, torch.ones(TABLE.count), TABLE, 32)
    assert images.abs().max() == 0 and d_positions.abs().max() == 0 and d_weights.abs().max() == 0


@needs_native
def test_native_refuses_what_belongs_to_another_mesh() -> None:
    with pytest.raises(ValueError, match="vertices"):
        compiled.mesh_splat(torch.zeros(1, 2, TABLE.nodes - 1), torch.zeros(TABLE.count), TABLE, 16)
    with pytest.raises(ValueError, match="weights do not fit"):
        compiled.mesh_splat(torch.zeros(1, 2, TABLE.nodes), torch.zeros(TABLE.count + 1), TABLE, 16)


def test_reference_gradients() -> None:
    few = torch.arange(0, TABLE.count, 300)
    table = MeshTable(VERTICES, CELLS, POINTS[few], CELL[few], SPACING)
    positions = (0.3 * projections(1, 0) + 6).requires_grad_()
    weights = torch.rand(table.count, generator=seeded(7), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, w: reference.mesh_splat(p, w, table, 12), (positions, weights))


@pytest.mark.parametrize("module", [reference, pytest.param(compiled, marks=needs_native)])
def test_gather_is_the_adjoint_of_splat(module: object) -> None:
    dtype = torch.float64 if module is reference else torch.float32
    positions = projections(5, 20).to(dtype)
    weights = torch.randn(TABLE.count, generator=seeded(8), dtype=torch.float64).to(dtype)
    images = torch.randn(5, 20, 20, generator=seeded(9), dtype=torch.float64).to(dtype)
    left = (module.mesh_splat(positions, weights, TABLE, 20) * images).double().sum()  # type: ignore[attr-defined]
    right = (weights * module.mesh_gather(positions, images, TABLE)).double().sum()  # type: ignore[attr-defined]
    scale = images.norm() * weights.norm()
    assert (left - right).abs() < (1e-13 if module is reference else 1e-6) * scale


def test_a_mesh_at_rest_is_a_plain_splat() -> None:
    rows = random_rotations(3, seeded(10)).double()[:, :2]
    weights = torch.rand(TABLE.count, generator=seeded(2), dtype=torch.float64)
    carried = reference.mesh_splat(rows @ VERTICES.T + 20, weights, TABLE, 40)
    assert torch.allclose(carried, reference.splat(rows @ POINTS.T + 20, weights, 40))


@pytest.mark.parametrize("module", [reference, pytest.param(compiled, marks=needs_native)])
def test_affine_motion_of_the_vertices_moves_every_point(module: object) -> None:
    """Rotations, stretches and shears of the vertices are those of the points: barycentric interpolation is exact."""
    dtype = torch.float64 if module is reference else torch.float32
    maps = torch.eye(3).double() + 0.3 * torch.randn(4, 3, 3, generator=seeded(12), dtype=torch.float64)
    rows = random_rotations(4, seeded(13)).double()[:, :2] @ maps
    shifts = torch.randn(4, 2, 1, generator=seeded(14), dtype=torch.float64) + 24
    weights = torch.rand(TABLE.count, generator=seeded(2), dtype=torch.float64)
    carried = module.mesh_splat((rows @ VERTICES.T + shifts).to(dtype), weights.to(dtype), TABLE, 48)  # type: ignore[attr-defined]
    plain = reference.splat(rows @ POINTS.T + shifts, weights, 48)
    assert (carried - plain).abs().max() < (1e-12 if module is reference else 1e-5) * plain.abs().max()


@pytest.mark.parametrize("module", [reference, pytest.param(compiled, marks=needs_native)])
def test_mass_is_conserved_in_whatever_way_the_mesh_moves(module: object) -> None:
    positions = projections(3, 64, spread=3.0).float()
    weights = torch.rand(TABLE.count, generator=seeded(2))
    images = module.mesh_splat(positions, weights, TABLE, 64)  # type: ignore[attr-defined]
    assert torch.allclose(images.double().sum(dim=(1, 2)), weights.double().sum().expand(3), rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_equals_cpu() -> None:
    """Plain torch, and whatever serves there, with its derivatives."""
    positions, weights = projections(3, 32).float(), torch.rand(TABLE.count, generator=seeded(2))
    truth = value_and_gradients(reference, positions.double(), weights.double(), TABLE, 32)
    for module in (reference, kernels):
        leaves = [value.cuda().requires_grad_() for value in (positions, weights)]
        images = module.mesh_splat(*leaves, TABLE.to("cuda"), 32)
        probe = torch.randn(images.shape, generator=seeded(1), dtype=torch.float64).float()
        ours = [images.detach(), *torch.autograd.grad(images, leaves, probe.cuda())]
        assert all((a.cpu() - b).abs().max() < 1e-5 * b.abs().max() for a, b in zip(ours, truth, strict=True))
