"""Splat and gather of points that a mesh carries, and the rigidity of the mesh."""

from __future__ import annotations

from typing import Any

import torch

from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.kernels.native.calls import CHUNKS, call, parallel, ranges, threads
from dynaflex.kernels.rigidity_table import RigidityTable
from dynaflex.shapes import Tensor

# How many images share one set of private gradients: 16 chunks of 16 images take 2.5 MB with 1,200 vertices.
_IMAGES = 16

# A chunk of fewer groups costs more for its private gradients than another thread would gain.
_GROUPS = 64


class _MeshSplat(torch.autograd.Function):
    """With positions as ``(b v 2)``: the kernels fetch a vertex at a time."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, weights: Tensor, table: MeshTable, box: int) -> Tensor:
        if weights.shape != (table.count,):
            raise ValueError(f"{tuple(weights.shape)} weights do not fit {table.count} points")
        packed = torch.zeros(table.slots).scatter_(0, table.slot, weights)
        inputs = [positions, *_arrays(table, positions), packed]
        sizes = [len(table.vertices), table.nodes, box]
        images = positions.new_empty(len(positions), box, box)
        # Images do not depend on each other, so neither do they on how many a call takes.
        parts = ranges(len(positions), threads())
        parallel(lambda i: call("mesh_splat_forward", [*inputs, images, *parts[i], *sizes]), len(parts))
        ctx.save_for_backward(positions, packed)
        ctx.table = table
        return images

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        positions, packed = ctx.saved_tensors
        table: MeshTable = ctx.table
        images = grads[0].contiguous()
        if not ctx.needs_input_grad[0]:
            return None, _gather(positions, images, table), None, None
        d_positions, d_packed = torch.empty_like(positions), torch.zeros_like(packed)
        for start in range(0, len(positions), _IMAGES):
            some = slice(start, start + _IMAGES)
            _backward(positions[some], packed, images[some], table, d_positions[some], d_packed)
        return d_positions, d_packed.index_select(0, table.slot), None, None


def _backward(
    positions: Tensor, packed: Tensor, images: Tensor, table: MeshTable, d_positions: Tensor, d_packed: Tensor
) -> None:
    """Fill ``d_positions`` and add to ``d_packed``: every chunk of groups has vertices' gradients of its own."""
    parts = ranges(len(table.vertices), min(CHUNKS, 1 + len(table.vertices) // _GROUPS))
    private = positions.new_zeros(len(parts), *positions.shape)
    inputs = [positions, *_arrays(table, positions), packed, images]
    sizes = [table.nodes, images.shape[-1]]
    parallel(
        lambda i: call("mesh_splat_backward", [*inputs, private[i], d_packed, len(positions), *parts[i], *sizes]),
        len(parts),
    )
    torch.sum(private, dim=0, out=d_positions)


def _gather(positions: Tensor, images: Tensor, table: MeshTable) -> Tensor:
    inputs = [positions, *_arrays(table, positions), images]
    sizes = [table.nodes, images.shape[-1]]
    totals = positions.new_zeros(table.slots)
    parts = ranges(len(table.vertices), CHUNKS)
    parallel(lambda i: call("mesh_splat_gather", [*inputs, totals, len(positions), *parts[i], *sizes]), len(parts))
    return totals.index_select(0, table.slot)


def mesh_splat(positions: Tensor, weights: Tensor, table: MeshTable, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.reference.mesh_splat`."""
    pairs = positions.transpose(1, 2).contiguous()
    return _MeshSplat.apply(pairs, weights, table, box)  # type: ignore[no-untyped-call]


def mesh_gather(positions: Tensor, images: Tensor, table: MeshTable) -> Tensor:
    """See :func:`dynaflex.kernels.reference.mesh_gather`; not differentiable."""
    return _gather(positions.transpose(1, 2).contiguous(), images.contiguous(), table)


def _arrays(table: MeshTable, positions: Tensor) -> list[Tensor]:
    _check(table, positions.shape[1], positions.device)
    return [table.vertices, table.blend_single, table.steps, table.offsets]


def _check(table: MeshTable | RigidityTable, nodes: int, device: torch.device) -> None:
    """The kernels read memory without asking."""
    if nodes != table.nodes or device != table.device:
        raise ValueError(f"{nodes} vertices on {device} do not fit a table of {table.nodes} on {table.device}")


class _Rigidity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, table: RigidityTable) -> Tensor:
        positions = positions.contiguous()
        _check(table, positions.shape[2], positions.device)
        inputs = [positions, table.packed_vertex, table.packed_inverse, table.packed_weights]
        energies, gradient = positions.new_empty(len(positions)), torch.empty_like(positions)
        sizes = [len(table.packed_vertex), table.nodes]
        parts = ranges(len(positions), CHUNKS)
        parallel(lambda i: call("rigidity_energy", [*inputs, energies, gradient, *parts[i], *sizes]), len(parts))
        ctx.save_for_backward(gradient)
        return energies

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0][:, None, None], None


def rigidity(positions: Tensor, table: RigidityTable) -> Tensor:
    """See :func:`dynaflex.kernels.reference.rigidity`."""
    return _Rigidity.apply(positions, table)  # type: ignore[no-untyped-call]
