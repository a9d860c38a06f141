"""Small problems that the kernels solve before they serve: what torch makes of them is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from dynaflex.kernels import reference
from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.kernels.rigidity_table import RigidityTable
from dynaflex.kernels.triton import mesh, rigidity, splat
from dynaflex.shapes import Tensor

_BOX, _IMAGES = 20, 3

# Rounding leaves 1e-6 of the largest number. A wrong index, or a number that is added twice, is far more.
_TOLERANCE = 1e-4

# What it is called, what the kernels make of it, and what torch does.
Problem = tuple[str, tuple[Tensor, ...], tuple[Tensor, ...]]


def failure(device: torch.device) -> str | None:
    """Which problem the kernels solve otherwise than torch, in a few words; None where they agree.

    Raises what Triton raises where a kernel cannot be compiled or started.
    """
    for name, ours, truth in problems(device):
        for found, true in zip(ours, truth, strict=True):
            error = float((found.cpu().double() - true).abs().max() / true.abs().max())
            if not error < _TOLERANCE:
                return f"{name} differ from torch's by {error:.1e} of the largest number"
    return None


def problems(device: torch.device) -> Iterator[Problem]:
    """Of every kernel one, of more than one block, and with points outside of the image."""
    yield _points(device)
    yield _carried(device)
    yield _strained(device)


def _points(device: torch.device) -> Problem:
    positions, weights, probe = 9.0 + 5.0 * _drawn(_IMAGES, 2, 77), _drawn(77), _drawn(_IMAGES, _BOX, _BOX)
    p, w, images = (value.to(device) for value in (positions, weights, probe))
    ours = (splat.splat(p, w, _BOX), *splat.splat_backward(p, w, images), splat.gather(p, images))
    truth = _derived(lambda p, w: reference.splat(p, w, _BOX), (positions, weights), probe)
    return "splats of points", ours, (*truth, reference.gather(positions.double(), probe.double()))


def _carried(device: torch.device) -> Problem:
    vertices = torch.cartesian_prod(*[torch.tensor([0.0, 12.0])] * 3)[[0, 1, 2, 4, 7]]
    points = torch.cartesian_prod(*[torch.arange(1.0, 12.0, 2.0)] * 3)
    # Ten times the same two cells, so that there is more than one group of them.
    cells = torch.tensor([[0, 1, 2, 3], [4, 1, 2, 3]]).repeat(10, 1)
    cell = (points.sum(dim=1) > 12.0).long() + torch.arange(len(points)) % 10 * 2
    table = MeshTable(vertices, cells, points, cell, 2.0)
    positions, probe = vertices.T[:2] + 4.0 + _drawn(_IMAGES, 2, 5), _drawn(_IMAGES, _BOX, _BOX)
    weights = _drawn(table.count)
    packed = table.to(device).packed
    p, w, images = (v.to(device) for v in (positions.mT.contiguous(), table.in_slots(weights), probe))
    d_positions, d_weights = mesh.mesh_splat_backward(p, w, images, *packed)
    totals = mesh.mesh_gather(p, images, *packed)
    slots = (d_weights.cpu()[table.slot], totals.cpu()[table.slot])
    truth = _derived(lambda p, w: reference.mesh_splat(p, w, table, _BOX), (positions, weights), probe)
    return (
        "splats of a mesh",
        (mesh.mesh_splat(p, w, *packed, _BOX), d_positions.mT, *slots),
        (*truth, reference.mesh_gather(positions.double(), probe.double(), table)),
    )


def _strained(device: torch.device) -> Problem:
    """Cells that are strained; and in a mirror, where the rotation is found in another way and is not unique."""
    vertices, cells = 10.0 * _drawn(40, 3), _drawn(90, 40).argsort(dim=1)[:, :4]
    table = RigidityTable(vertices, cells, 0.5 + _drawn(90).square())
    packed = table.to(device).packed
    positions, mirrored = vertices.T + _drawn(_IMAGES, 3, 40), (vertices * torch.tensor([1.0, 1.0, -1.0])).T[None]
    in_mirror, _ = rigidity.rigidity(mirrored.to(device), *packed)
    truth = _derived(lambda given: reference.rigidity(given, table), (positions,), torch.ones(_IMAGES))
    return (
        "energies of cells",
        (*rigidity.rigidity(positions.to(device), *packed), in_mirror),
        (*truth, reference.rigidity(mirrored.double(), table)),
    )


def _derived(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], probe: Tensor) -> tuple[Tensor, ...]:
    """What plain torch makes of the inputs in double precision, and the derivatives of its product with ``probe``."""
    given = [value.double().requires_grad_() for value in inputs]
    out = function(*given)
    return out.detach(), *torch.autograd.grad(out, given, probe.double())


def _drawn(*shape: int) -> Tensor:
    """Numbers that are the same in every trial, and of no other seed than their number."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
