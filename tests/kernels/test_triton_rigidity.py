"""The rigidity of the Triton kernels: plain torch in double precision, and what happens near degenerate cells."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial import Delaunay

from deformed_cells import DEGENERATE, deformed, separate_cells
from dynaflex.kernels import RigidityTable, reference
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from triton_kernels import DEVICE, corners, rigidity


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


VERTICES = 15.0 * drawn(30, 3)
CELLS = torch.from_numpy(Delaunay(VERTICES.numpy()).simplices).long()
TABLE = RigidityTable(VERTICES, CELLS, 0.5 + drawn(len(CELLS)).square())


def evaluate(positions: Tensor, table: RigidityTable) -> tuple[Tensor, Tensor]:
    """Energies ``(b)`` and their gradients by the kernel."""
    packed = [array.to(DEVICE) for array in table.packed]
    energies, gradient = rigidity.rigidity(positions.float().to(DEVICE), *packed)
    assert energies.dtype == gradient.dtype == torch.float32
    return energies.cpu().double(), gradient.cpu().double()


def truth(positions: Tensor, table: RigidityTable) -> tuple[Tensor, Tensor]:
    given = positions.float().double().requires_grad_()
    energies = reference.rigidity(given, table)
    return energies.detach(), torch.autograd.grad(energies.sum(), given)[0]


@pytest.mark.parametrize("batch", [1, 3])
def test_energies_and_gradients_are_those_of_torch(batch: int) -> None:
    """Cells fill more than one block; with this noise some of the smaller ones are turned inside out."""
    assert len(CELLS) > 64 and len(CELLS) % 16 != 0
    positions = VERTICES.T + 2.0 * drawn(batch, 3, len(VERTICES), seed=1)
    for ours, theirs in zip(evaluate(positions, TABLE), truth(positions, TABLE), strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_a_mesh_does_not_know_what_other_meshes_are_in_a_call() -> None:
    positions = VERTICES.T + drawn(3, 3, len(VERTICES), seed=1)
    together = evaluate(positions, TABLE)
    for i in range(3):
        alone = evaluate(positions[i : i + 1], TABLE)
        assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))


def test_rigid_motion_is_free() -> None:
    moved = random_rotations(3, torch.Generator().manual_seed(2)).float() @ VERTICES.T + 10 * drawn(3, 3, 1)
    energies, gradient = evaluate(moved, TABLE)
    assert energies.abs().max() < 1e-6 and gradient.abs().max() < 1e-2


@pytest.mark.parametrize("values", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_cells_stay_finite_with_the_energy_of_a_rotation(values: list[float]) -> None:
    turns = random_rotations(34, torch.Generator().manual_seed(5)).double()
    F = turns[:17] @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ turns[17:]
    vertices, table = separate_cells(17)
    energies, gradient = evaluate(deformed(vertices, F), table)
    singular = torch.tensor(values).abs().sort(descending=True).values.double()
    sign = -1.0 if torch.tensor(values).prod() < 0 else 1.0
    exact = 17 * ((singular * torch.tensor([1.0, 1.0, sign]) - 1.0) ** 2).sum()
    assert torch.allclose(energies, exact[None], rtol=1e-4, atol=1e-9)
    R = F - 0.5 * gradient[0].T.view(17, 4, 3)[:, 1:].mT
    if singular[0] < 1e3:
        assert (R.mT @ R - torch.eye(3)).abs().max() < 1e-4 and (torch.linalg.det(R) - 1).abs().max() < 1e-4
    assert gradient.isfinite().all()


def test_a_particle_with_a_lost_vertex_does_not_touch_the_others() -> None:
    positions = VERTICES.T + drawn(3, 3, len(VERTICES), seed=1)
    alone, _ = evaluate(positions[:1], TABLE)
    positions[1, 0, 0] = float("nan")
    energies, gradient = evaluate(positions, TABLE)
    assert torch.equal(energies[:1], alone) and energies.isnan().tolist() == [False, True, False]
    assert gradient[[0, 2]].isfinite().all() and gradient[1].isnan().any()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="positions have the shape"):
        rigidity.rigidity(torch.zeros(1, 2, len(VERTICES)), *TABLE.packed)


def test_every_vertex_has_the_sum_of_its_corners() -> None:
    """Of one at which many meet, more than are summed at once, of one at which none do, and of all others."""
    vertices = torch.randint(0, 20, (5, 4, 16), generator=torch.Generator().manual_seed(0)).int()
    vertices[vertices == 7] = 3
    vertices[0] = 11
    parts = drawn(2, 3, vertices.numel())
    totals = torch.full((2, 20, 3), float("nan"), device=DEVICE).mT
    corners.sum_at_vertices(parts.to(DEVICE), vertices.to(DEVICE), totals)
    theirs = torch.zeros(2, 3, 20).index_add(2, vertices.flatten().long(), parts)
    assert torch.allclose(totals.cpu(), theirs, atol=1e-5) and (totals[:, :, 7] == 0).all()
