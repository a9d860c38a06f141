"""Laws of the kernel that puts planes of coefficients into Fourier space."""

from __future__ import annotations

import pytest
import torch

from dynaflex import kernels
from dynaflex.kernels import compiled, native, reference
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

SIZE, BOX = 20, 16
# The cubic B-spline: its taps sum to one.
SPLINE = (
    torch.tensor([[1.0, 4.0, 1.0, 0.0], [-3.0, 0.0, 3.0, 0.0], [3.0, -6.0, 3.0, 0.0], [-1.0, 3.0, -3.0, 1.0]]) / 6.0
)

needs_native = pytest.mark.skipif(native.library() is None, reason="the C kernels were not compiled at install")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def nodes(channels: int) -> Tensor:
    return torch.zeros(SIZE + 4, SIZE + 4, SIZE // 2 + 5, channels)


def planes(channels: int) -> tuple[Tensor, Tensor]:
    """Coefficients, some of them zero and some outside of the lattice, and where they belong."""
    values = drawn(5, BOX, BOX // 2 + 1, channels)
    values[:, 3] = 0.0
    return values, random_rotations(5, torch.Generator().manual_seed(1)).float()[:, :2] * 1.3


@needs_native
@pytest.mark.parametrize("channels", [1, 2])
def test_native_equals_reference(channels: int) -> None:
    ours, truth = nodes(channels), nodes(channels).double()
    values, rows = planes(channels)
    compiled.insert(ours, values, rows, SPLINE)
    reference.insert(truth, values.double(), rows.double(), SPLINE.double())
    assert (ours - truth).abs().max() < 3e-6 * truth.abs().max()
    assert truth.abs().max() > 0.1


@needs_native
def test_any_number_of_threads_gives_the_same_bits() -> None:
    before, found = native.threads(), []
    try:
        for count in (1, 3):
            native.set_threads(count)
            found.append(nodes(2))
            compiled.insert(found[-1], *planes(2), SPLINE)
    finally:
        native.set_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_what_is_put_in_is_there_and_where_it_belongs(precision: torch.dtype) -> None:
    """Taps that sum to one keep the sum, and those of a spline the centre of mass."""
    lattice, values = nodes(1).to(precision), torch.zeros(1, BOX, BOX // 2 + 1, 1, dtype=precision)
    values[0, 2, 4] = 3.0
    rows = random_rotations(1, torch.Generator().manual_seed(1)).to(precision)[:, :2]
    kernels.insert(lattice, values, rows, SPLINE.to(precision))
    at = 4.0 * rows[0, 0] + 2.0 * rows[0, 1]
    at = at * at[0].sign()
    assert float(lattice.sum()) == pytest.approx(3.0, rel=1e-5)
    origin = torch.tensor([SIZE // 2 + 2.0, SIZE // 2 + 2.0, 2.0])
    where = torch.stack(torch.meshgrid(*[torch.arange(n) for n in lattice.shape[:3]], indexing="ij"), dim=-1) - origin
    centre = (where * lattice).sum(dim=(0, 1, 2)) / lattice.sum()
    assert torch.allclose(centre.flip(0), at, atol=1e-4)


def test_a_coefficient_on_the_other_side_is_the_conjugate_of_its_opposite() -> None:
    values, (_, rows) = torch.zeros(1, BOX, BOX // 2 + 1, 2), planes(2)
    values[0, 1, 3] = torch.tensor([1.0, 2.0])
    there, opposite = nodes(2), nodes(2)
    kernels.insert(there, values, rows[:1], SPLINE)
    kernels.insert(opposite, values * torch.tensor([1.0, -1.0]), -rows[:1], SPLINE)
    assert torch.allclose(there, opposite, atol=1e-6) and there.abs().max() > 0.01
