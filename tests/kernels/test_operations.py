"""Laws of the operations: torch may trace every one of them, and each has the derivative of plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.library import opcheck

from dynaflex import kernels
from dynaflex.kernels import MeshTable, RigidityTable, compiled, native, operations, reference
from dynaflex.kernels.backend import Backend, _backends, serving
from dynaflex.kernels.native.cpu import CPU
from dynaflex.shapes import Tensor

pytestmark = pytest.mark.skipif(native.library() is None, reason="the C kernels were not compiled at install")

OPERATIONS = {name: value for name, value in vars(operations).items() if isinstance(value, torch._ops.OpOverload)}
BOX = 12
CORNERS = torch.cartesian_prod(*[torch.tensor([0.0, 9.0])] * 3)[[0, 1, 2, 4, 7]]
CELLS = torch.tensor([[0, 1, 2, 3], [4, 1, 2, 3]])
POINTS = torch.cartesian_prod(*[torch.arange(1.0, 9.0)] * 3)
WHERE = (POINTS.sum(dim=1) > 9.0).long()
MESH = MeshTable(CORNERS, CELLS, POINTS, WHERE, 1.0)
TIED = RigidityTable(CORNERS, CELLS, torch.tensor([1.0, 2.0]))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def projected(batch: int = 3) -> Tensor:
    """Vertices ``(b 2 v)`` in pixels, not quite at rest."""
    return CORNERS.T[None, :2] + 1.0 + 0.2 * drawn(batch, 2, 5)


def samples() -> dict[str, tuple[Any, ...]]:
    """Arguments of every operation."""
    positions, weights, images = 5.0 + 2.0 * drawn(3, 2, 20), drawn(20), drawn(3, BOX, BOX)
    edges = torch.tensor([[0, 1], [2, 3], [4, 4]], dtype=torch.int32)
    network = drawn(32, 16), drawn(3, 32), drawn(2, 32, 32) / 6.0, drawn(2, 32), drawn(3, 32)
    pairs, in_slots = projected().transpose(1, 2).contiguous(), MESH.in_slots(drawn(MESH.count))
    return {
        "splat": (positions, weights, BOX),
        "splat_backward": (positions, weights, images),
        "gather": (positions, images),
        "edge_lengths": (drawn(3, 3, 5), edges),
        "edge_lengths_backward": (drawn(3, 3, 5), edges, torch.ones(3, 3), drawn(3, 3)),
        "coordinate_mlp": network,
        "coordinate_mlp_backward": (*network, drawn(3, 3, 16)),
        "mesh_splat": (pairs, in_slots, *MESH.packed, BOX),
        "mesh_splat_backward": (pairs, in_slots, images, *MESH.packed),
        "mesh_gather": (pairs, images, *MESH.packed),
        "rigidity": (CORNERS.T + drawn(3, 3, 5), *TIED.packed),
        "insert": (torch.zeros(16, 16, 11, 2), drawn(3, BOX, BOX // 2 + 1, 2), 0.3 * drawn(3, 2, 3), drawn(5, 4)),
    }


DIFFERENTIABLE = {"splat", "gather", "edge_lengths", "coordinate_mlp", "mesh_splat", "mesh_gather", "rigidity"}
TABLES = {"mesh_splat": slice(2, 4), "mesh_gather": slice(2, 4), "rigidity": slice(1, 4)}


def leaves(name: str) -> tuple[Any, ...]:
    """The arguments, of which what is not a table asks for its derivative."""
    fixed = range(99)[TABLES.get(name, slice(0, 0))]
    return tuple(
        value.clone().requires_grad_()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and place not in fixed
        else value
        for place, value in enumerate(samples()[name])
    )


def test_every_operation_has_a_kernel_and_a_sample() -> None:
    assert samples().keys() == OPERATIONS.keys() == CPU.operations
    assert {name.removesuffix("_backward") for name in OPERATIONS} == DIFFERENTIABLE | {"insert"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_schema_shapes_and_derivative_are_what_torch_is_told(name: str) -> None:
    arguments = leaves(name) if name in DIFFERENTIABLE else samples()[name]
    assert set(opcheck(OPERATIONS[name], arguments).values()) == {"SUCCESS"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", OPERATIONS)
def test_on_a_gpu_they_are_that_too(name: str) -> None:
    found = serving(torch.zeros(1, device="cuda"))
    if found is None or name not in found.operations:
        pytest.skip("plain torch serves")
    arguments = leaves(name) if name in DIFFERENTIABLE else samples()[name]
    there = [v.detach().cuda().requires_grad_(v.requires_grad) if torch.is_tensor(v) else v for v in arguments]
    assert set(opcheck(OPERATIONS[name], there).values()) == {"SUCCESS"}


FUNCTIONS: dict[str, tuple[tuple[Tensor, ...], tuple[Any, ...]]] = {
    "splat": ((5.0 + 3.0 * drawn(3, 2, 50), drawn(50, seed=1)), (BOX,)),
    "gather": ((5.0 + 3.0 * drawn(3, 2, 50), drawn(3, BOX, BOX, seed=1)), ()),
    "mesh_splat": ((projected(), drawn(MESH.count, seed=1)), (MESH, BOX)),
    "mesh_gather": ((projected(), drawn(3, BOX, BOX, seed=1)), (MESH,)),
    "rigidity": ((CORNERS.T + drawn(3, 3, 5),), (TIED,)),
}


def gradients(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], rest: tuple[Any, ...]) -> list[Tensor]:
    given = [value.clone().requires_grad_() for value in inputs]
    out = function(*given, *rest)
    (out * drawn(*out.shape, seed=2).to(out.dtype)).sum().backward()
    return [value.grad.double() for value in given if value.grad is not None]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivatives_are_those_of_plain_torch(name: str) -> None:
    inputs, rest = FUNCTIONS[name]
    ours = gradients(getattr(compiled, name), inputs, rest)
    truth = gradients(getattr(reference, name), tuple(value.double() for value in inputs), rest)
    assert len(ours) == len(truth) == len(inputs)
    for a, b in zip(ours, truth, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


@pytest.mark.parametrize("name", [*FUNCTIONS, "edge_lengths", "coordinate_mlp"])
def test_the_function_is_the_operation_in_single_precision_and_plain_torch_in_double(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, rest = FUNCTIONS.get(name, (samples()[name], ()))
    double = [value.double() if value.is_floating_point() else value for value in inputs]
    function, plain = getattr(kernels, name), getattr(reference, name)
    assert torch.equal(function(*inputs, *rest), getattr(compiled, name)(*inputs, *rest))
    assert torch.equal(function(*double, *rest), plain(*double, *rest))
    monkeypatch.setenv("DYNAFLEX_KERNELS", "reference")
    assert torch.equal(function(*inputs, *rest), plain(*inputs, *rest))


def test_what_a_backend_has_no_kernel_for_is_plain_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    (positions, weights), _ = FUNCTIONS["splat"]
    young = Backend("young", "cpu", lambda: True, lambda: "a backend that only gathers", {"gather"})
    monkeypatch.setitem(_backends, "cpu", young)
    assert torch.equal(kernels.splat(positions, weights, BOX), reference.splat(positions, weights, BOX))
    images = drawn(3, BOX, BOX)
    assert torch.equal(kernels.gather(positions, images), compiled.gather(positions, images))
    assert kernels.backend(positions) == "young" and kernels.described("cpu") == "a backend that only gathers"


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    for name, place, other in [
        ("splat", 1, drawn(19)), ("splat_backward", 2, drawn(2, BOX, BOX)), ("gather", 1, drawn(3, BOX, BOX + 1)),
        ("coordinate_mlp", 0, drawn(32, 17)), ("coordinate_mlp", 1, drawn(3, 31)), ("mesh_splat", 1, drawn(7)),
        ("mesh_gather", 1, drawn(2, BOX, BOX)), ("edge_lengths_backward", 3, drawn(3, 2)),
    ]:  # fmt: skip
        arguments = list(samples()[name])
        arguments[place] = other
        with pytest.raises(ValueError, match=r"shape|multiple"):
            OPERATIONS[name](*arguments)
