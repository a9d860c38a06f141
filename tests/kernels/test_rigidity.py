"""The rigidity energy: closed forms, numpy's decomposition as the oracle, and what happens near degenerate cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from deformed_cells import DEGENERATE, deformed, separate_cells
from dynaflex.kernels import RigidityTable, compiled, native, reference
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

needs_native = pytest.mark.skipif(native.library() is None, reason="the C kernels were not compiled at install")
BACKENDS = [reference, pytest.param(compiled, marks=needs_native)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def irregular_mesh() -> tuple[Tensor, Tensor]:
    vertices = torch.rand(40, 3, generator=seeded(), dtype=torch.float64) * 30 - 15
    return vertices, torch.from_numpy(Delaunay(vertices.numpy()).simplices).long()


VERTICES, CELLS = irregular_mesh()
WEIGHTS = torch.rand(len(CELLS), generator=seeded(1), dtype=torch.float64) + 0.5
TABLE = RigidityTable(VERTICES, CELLS, WEIGHTS)


def evaluate(module: object, positions: Tensor, table: RigidityTable) -> tuple[Tensor, Tensor]:
    """Energies and their gradients, in the precision of the backend."""
    dtype = torch.float64 if module is reference else torch.float32
    leaf = positions.to(dtype).clone().requires_grad_()
    energies = module.rigidity(leaf, table)  # type: ignore[attr-defined]
    energies.sum().backward()
    assert leaf.grad is not None
    return energies.detach().double(), leaf.grad.double()


def signed_singular_values(F: Tensor) -> np.ndarray:
    values = np.linalg.svd(F.numpy(), compute_uv=False)
    values[..., 2] *= np.sign(np.linalg.det(F.numpy()))
    return values


def proper_rotation(F: Tensor) -> np.ndarray:
    U, _, Vh = np.linalg.svd(F.numpy())
    U[..., 2] *= np.linalg.det(U @ Vh)[..., None]
    return U @ Vh


@pytest.mark.parametrize("module", BACKENDS)
def test_rigid_motion_is_free(module: object) -> None:
    moved = random_rotations(5, seeded(2)).double() @ VERTICES.T + torch.randn(5, 3, 1, generator=seeded(3)) * 10
    energies, gradient = evaluate(module, moved, TABLE)
    assert energies.abs().max() < (1e-20 if module is reference else 1e-6)
    assert gradient.abs().max() < (1e-10 if module is reference else 1e-2)


@pytest.mark.parametrize("module", BACKENDS)
def test_scaling_has_a_closed_form(module: object) -> None:
    scales = torch.tensor([[1.1, 0.8, 1.3], [2.0, 2.0, 2.0], [1.0, 1.0, 0.3]]).double()
    energies, _ = evaluate(module, scales[:, :, None] * VERTICES.T, TABLE)
    expected = ((scales - 1.0) ** 2).sum(dim=1) * WEIGHTS.sum()
    assert torch.allclose(energies, expected, rtol=1e-5)


@pytest.mark.parametrize("module", BACKENDS)
def test_a_mirror_image_is_penalised_and_pushed_back(module: object) -> None:
    flipped = torch.tensor([1.0, 1.0, -0.9]).double()[:, None] * VERTICES.T
    energies, gradient = evaluate(module, flipped[None], TABLE)
    assert torch.allclose(energies, 1.9**2 * WEIGHTS.sum(), rtol=1e-4)
    thicker = torch.zeros_like(flipped)
    thicker[2] = VERTICES[:, 2]
    along = (gradient[0] * thicker).sum()
    assert torch.allclose(along, 2 * -1.9 * WEIGHTS.sum(), rtol=1e-3)


@pytest.mark.parametrize("module", BACKENDS)
def test_exact_mirrors_cost_four(module: object) -> None:
    """Here the nearest rotation is not unique; the energy is."""
    vertices, table = separate_cells(3)
    mirrors = torch.diag_embed(torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])).double()
    energies, gradient = evaluate(module, deformed(vertices, mirrors), table)
    assert torch.allclose(energies, torch.tensor([12.0]).double(), rtol=1e-6)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("module", BACKENDS)
def test_random_deformations_agree_with_a_decomposition(module: object) -> None:
    vertices, table = separate_cells(4000)
    F = torch.randn(4000, 3, 3, generator=seeded(4), dtype=torch.float64)
    F = F.float().double()
    energies, gradient = evaluate(module, deformed(vertices, F), table)
    values, R = signed_singular_values(F), torch.from_numpy(proper_rotation(F))
    assert torch.allclose(energies, torch.tensor([((values - 1) ** 2).sum()]).double(), rtol=1e-5)
    # The three edges of a unit corner are the columns of F.
    ours = gradient[0].T.view(4000, 4, 3)[:, 1:].transpose(1, 2)
    # How well R is determined goes with the sum of the two smaller values.
    error = (ours - 2 * (F - R)).abs().amax(dim=(1, 2)) * torch.from_numpy(values[:, 1] + values[:, 2])
    assert error.max() < (1e-9 if module is reference else 1e-3)
    assert error.quantile(0.99) < (1e-12 if module is reference else 2e-5)


@pytest.mark.parametrize("module", BACKENDS)
@pytest.mark.parametrize("values", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_cells_stay_finite_with_the_energy_of_a_rotation(module: object, values: list[float]) -> None:
    turns = random_rotations(34, seeded(5)).double()
    F = turns[:17] @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ turns[17:]
    vertices, table = separate_cells(17)
    energies, gradient = evaluate(module, deformed(vertices, F), table)
    exact = ((np.sort(np.abs(values))[::-1] * [1, 1, np.sign(np.prod(values)) or 1.0] - 1) ** 2).sum()
    assert torch.allclose(energies, torch.tensor([17 * exact]).double(), rtol=1e-4, atol=1e-9)
    R = F - 0.5 * gradient[0].T.view(17, 4, 3)[:, 1:].transpose(1, 2)
    if max(np.abs(values)) < 1e3:
        assert (R.mT @ R - torch.eye(3)).abs().max() < 1e-4
        assert (torch.linalg.det(R) - 1).abs().max() < 1e-4
    assert gradient.isfinite().all()


@pytest.mark.parametrize("module", BACKENDS)
def test_gradient_is_the_slope_of_the_energy(module: object) -> None:
    positions = (VERTICES.T + 2.0 * torch.randn(2, *VERTICES.T.shape, generator=seeded(6), dtype=torch.float64)).float()
    direction = torch.randn(positions.shape, generator=seeded(7), dtype=torch.float64)
    _, gradient = evaluate(module, positions, TABLE)
    step = 1e-6 * direction
    higher = reference.rigidity(positions.double() + step, TABLE)
    lower = reference.rigidity(positions.double() - step, TABLE)
    slope = (higher - lower) / 2e-6
    ours = (gradient * direction).sum(dim=(1, 2))
    assert torch.allclose(ours, slope, rtol=1e-6 if module is reference else 1e-3)


def test_reference_gradients() -> None:
    vertices, table = separate_cells(6)
    positions = vertices.T + torch.randn(2, 3, 24, generator=seeded(6), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: reference.rigidity(p, table), (positions.requires_grad_(),))


@needs_native
@pytest.mark.parametrize("batch", [1, 17])
def test_native_equals_reference(batch: int) -> None:
    """Up to 1.5 Å of noise: enough to turn some of the smaller cells inside out."""
    noise = torch.randn(batch, *VERTICES.T.shape, generator=seeded(8), dtype=torch.float64)
    positions = (VERTICES.T + 1.5 * noise * torch.linspace(0, 1, batch)[:, None, None]).float()
    for a, b in zip(evaluate(compiled, positions, TABLE), evaluate(reference, positions, TABLE), strict=True):
        assert (a - b).abs().max() < 1e-4 * max(1.0, float(b.abs().max()))


@needs_native
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    positions = VERTICES.T + torch.randn(18, *VERTICES.T.shape, generator=seeded(9), dtype=torch.float64)
    results = []
    try:
        for threads in (1, 3):
            native.set_threads(threads)
            results.append(evaluate(compiled, positions, TABLE))
    finally:
        native.set_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("module", BACKENDS)
def test_gradients_follow_what_is_made_of_the_energies(module: object) -> None:
    positions = VERTICES.T + torch.randn(2, *VERTICES.T.shape, generator=seeded(9), dtype=torch.float64)
    _, plain = evaluate(module, positions, TABLE)
    leaf = positions.to(torch.float64 if module is reference else torch.float32).requires_grad_()
    energies = module.rigidity(leaf, TABLE)  # type: ignore[attr-defined]
    (2.0 * energies[0] - 3.0 * energies[1]).backward()
    assert leaf.grad is not None
    assert torch.allclose(leaf.grad.double(), plain * torch.tensor([2.0, -3.0])[:, None, None])


@pytest.mark.parametrize("module", BACKENDS)
def test_a_particle_with_a_lost_vertex_does_not_touch_the_others(module: object) -> None:
    positions = VERTICES.T + torch.randn(3, *VERTICES.T.shape, generator=seeded(9), dtype=torch.float64)
    alone, _ = evaluate(module, positions[:1], TABLE)
    positions[1, 0, 0] = float("nan")
    energies, _ = evaluate(module, positions, TABLE)
    assert torch.equal(energies[:1], alone) and energies.isnan().tolist() == [False, True, False]


def test_table_refuses_what_has_no_volume() -> None:
    with pytest.raises(ValueError, match="no volume"):
        RigidityTable(VERTICES * torch.tensor([1.0, 1.0, 0.0]), CELLS, WEIGHTS)
    with pytest.raises(ValueError, match="do not fit"):
        RigidityTable(VERTICES, CELLS, WEIGHTS[1:])
