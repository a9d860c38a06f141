"""Every backend against the torch reference in float64, and the reference against its own gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dynaflex import kernels
from dynaflex.kernels import compiled, native, operations, reference
from dynaflex.shapes import Tensor

needs_native = pytest.mark.skipif(native.library() is None, reason="the C kernels were not compiled at install")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def value_and_gradients(function: Callable[..., Tensor], inputs: list[Tensor], *rest: object) -> list[Tensor]:
    """The result and the gradients of a fixed random functional of it."""
    leaves = [t.clone().requires_grad_() for t in inputs]
    out = function(*leaves, *rest)
    probe = torch.randn(out.shape, generator=seeded(1), dtype=torch.float64).to(out.dtype)
    out.backward(probe)
    return [out.detach(), *(t.grad for t in leaves if t.grad is not None)]


def assert_backends_agree(name: str, inputs: list[Tensor], *rest: object, tolerance: float = 3e-6) -> None:
    ours = value_and_gradients(getattr(compiled, name), inputs, *rest)
    truth = value_and_gradients(getattr(reference, name), [t.double() for t in inputs], *rest)
    assert len(ours) == len(truth) == len(inputs) + 1
    for a, b in zip(ours, truth, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max()


@needs_native
@pytest.mark.parametrize(("batch", "points", "box"), [(1, 1, 8), (3, 1000, 64), (17, 77, 20)])
def test_native_splat_equals_reference(batch: int, points: int, box: int) -> None:
    # Some points lie outside the image.
    positions = torch.rand(batch, 2, points, generator=seeded()) * (box + 8) - 4
    weights = torch.rand(points, generator=seeded(2))
    assert_backends_agree("splat", [positions, weights], box)


@needs_native
def test_native_gather_equals_reference() -> None:
    positions = torch.rand(5, 2, 333, generator=seeded()) * 40 - 4
    images = torch.randn(5, 32, 32, generator=seeded(3))
    truth = reference.gather(positions.double(), images.double())
    assert (compiled.gather(positions, images) - truth).abs().max() < 3e-6 * truth.abs().max()


@needs_native
def test_native_edge_lengths_equal_reference() -> None:
    points = torch.randn(4, 3, 50, generator=seeded()) * 20
    edges = torch.randint(0, 50, (300, 2), generator=seeded(4))
    edges = edges[edges[:, 0] != edges[:, 1]]
    assert_backends_agree("edge_lengths", [points], edges)


@needs_native
@pytest.mark.parametrize("width", operations.WIDTHS)
@pytest.mark.parametrize("points", [1, 16, 1003])
def test_native_mlp_equals_reference(width: int, points: int) -> None:
    inputs = [
        torch.randn(width, points, generator=seeded(5)),
        torch.randn(4, width, generator=seeded(6)),
        torch.randn(7, width, width, generator=seeded(7)) / width**0.5,
        torch.randn(7, width, generator=seeded(8)) * 0.1,
        torch.randn(3, width, generator=seeded(9)),
    ]
    assert_backends_agree("coordinate_mlp", inputs)


@needs_native
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    shapes = [(32, 500), (6, 32), (3, 32, 32), (3, 32), (3, 32)]
    inputs = [torch.randn(shape) / 6 for shape in shapes]
    positions = torch.rand(6, 2, 500) * 30
    results = []
    try:
        for threads in (1, 2, 3):
            native.set_threads(threads)
            results.append(
                value_and_gradients(compiled.coordinate_mlp, inputs)
                + value_and_gradients(compiled.splat, [positions, torch.ones(500)], 32)
            )
    finally:
        native.set_threads(1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_native
def test_far_and_non_finite_positions_add_nothing() -> None:
    positions = torch.tensor([[[float("nan"), float("inf"), 1e30, -1e9], [5.0, 5.0, 5.0, 5.0]]])
    assert compiled.splat(positions, torch.ones(4), 16).abs().max() == 0


def test_reference_splat_gradients() -> None:
    positions = (torch.rand(2, 2, 5, generator=seeded(), dtype=torch.float64) * 8 + 2).requires_grad_()
    weights = torch.rand(5, generator=seeded(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, w: reference.splat(p, w, 12), (positions, weights))


def test_reference_mlp_and_lengths_gradients() -> None:
    shapes = [(4, 3), (2, 4), (2, 4, 4), (2, 4), (3, 4)]
    inputs = tuple(torch.randn(s, generator=seeded(), dtype=torch.float64).requires_grad_() for s in shapes)
    assert torch.autograd.gradcheck(reference.coordinate_mlp, inputs)
    points = torch.randn(2, 3, 4, generator=seeded(), dtype=torch.float64).requires_grad_()
    edges = torch.tensor([[0, 1], [2, 3], [0, 3]])
    assert torch.autograd.gradcheck(lambda p: reference.edge_lengths(p, edges), (points,))


def test_splat_conserves_mass_and_centre_of_mass() -> None:
    positions = torch.rand(3, 2, 40, generator=seeded(), dtype=torch.float64) * 20 + 6
    weights = torch.rand(40, generator=seeded(), dtype=torch.float64)
    images = reference.splat(positions, weights, 32)
    assert torch.allclose(images.sum(dim=(1, 2)), weights.sum().expand(3))
    axis = torch.arange(32.0, dtype=torch.float64)
    assert torch.allclose((images.sum(dim=1) * axis).sum(dim=1), (positions[:, 0] * weights).sum(dim=1))
    assert torch.allclose((images.sum(dim=2) * axis).sum(dim=1), (positions[:, 1] * weights).sum(dim=1))


def test_gather_is_the_adjoint_of_splat() -> None:
    positions = torch.rand(3, 2, 40, generator=seeded(), dtype=torch.float64) * 34 - 1
    weights = torch.randn(40, generator=seeded(1), dtype=torch.float64)
    images = torch.randn(3, 32, 32, generator=seeded(2), dtype=torch.float64)
    left = (reference.splat(positions, weights, 32) * images).sum()
    assert torch.allclose(left, (weights * reference.gather(positions, images)).sum())


def test_backend_follows_device_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.backend(torch.zeros(1, dtype=torch.float64)) == "reference"
    monkeypatch.setenv("DYNAFLEX_KERNELS", "reference")
    assert kernels.backend(torch.zeros(1)) == "reference"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_equals_cpu() -> None:
    positions, weights = torch.rand(3, 2, 100) * 30, torch.rand(100)
    on_gpu = kernels.splat(positions.cuda(), weights.cuda(), 32).cpu()
    assert torch.allclose(on_gpu, reference.splat(positions, weights, 32), atol=1e-5)
