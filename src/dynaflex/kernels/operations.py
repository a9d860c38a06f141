"""What a compiled backend computes: operations ``dynaflex::…`` of torch with schema, shapes and derivative.

A backend gives an operation a kernel for its device (:mod:`dynaflex.kernels.backend`): the body of a function here says
only what shape the result has, for whoever traces a program without running it. All arrays are float32, but for the
integers of the packed tables, and a derivative is an operation too. Splat and gather are each other's adjoint, so one
derivative serves both.

The plain torch of :mod:`dynaflex.kernels.reference` is not behind these operations but beside them. There autograd
keeps a graph of its own, which can be differentiated again, and a compiler sees through it. As a kernel here it would
be computed once more in every backward pass, 1.6 times the time of a splat, and could not keep a mesh's plain tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dynaflex.kernels.tetrahedra import LANES
from dynaflex.shapes import Tensor

NAMESPACE = "dynaflex"
WIDTHS = (32, 64)
MAX_LAYERS = 12
"""What every backend serves of :func:`coordinate_mlp`: these widths, up to so many hidden layers."""

library = torch.library.Library(NAMESPACE, "DEF")

_TABLE = "Tensor vertices, Tensor blend, Tensor steps, Tensor offsets"


def _operation(arguments: str, results: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes the operation of the decorated function, which gives the shapes of the results."""

    def define(shapes: Callable[..., Any]) -> Callable[..., Any]:
        name = shapes.__name__
        library.define(f"{name}({arguments}) -> {results}")
        torch.library.register_fake(f"{NAMESPACE}::{name}", shapes, lib=library)
        return getattr(getattr(torch.ops, NAMESPACE), name).default

    return define


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(value for value in inputs if isinstance(value, torch.Tensor)))


def _differentiable(
    name: str, backward: Callable[..., Any], keep: Callable[[Any, tuple[Any, ...], Any], None] = _keep_inputs
) -> None:
    torch.library.register_autograd(f"{NAMESPACE}::{name}", backward, setup_context=keep, lib=library)


@_operation("Tensor positions, Tensor weights, SymInt box", "Tensor")
def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """Images ``(b box box)`` of points at ``positions`` ``(b 2 n)`` in pixels with ``weights`` ``(n)``."""
    return positions.new_empty(positions.shape[0], box, box)


@_operation("Tensor positions, Tensor weights, Tensor images", "(Tensor, Tensor)")
def splat_backward(positions: Tensor, weights: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of ``<splat(positions, weights), images>`` in positions and weights."""
    return positions.new_empty(positions.shape), weights.new_empty(weights.shape)


@_operation("Tensor positions, Tensor images", "Tensor")
def gather(positions: Tensor, images: Tensor) -> Tensor:
    """Images ``(b h h)`` at the points and summed, ``(n)``: the adjoint of :func:`splat` in the weights."""
    return positions.new_empty(positions.shape[2])


def _splat_gradients(ctx: Any, d_images: Tensor) -> tuple[Tensor | None, ...]:
    return (*splat_backward(*ctx.saved_tensors, d_images), None)


def _gather_gradients(ctx: Any, d_totals: Tensor) -> tuple[Tensor | None, ...]:
    positions, images = ctx.saved_tensors
    d_positions = splat_backward(positions, d_totals, images)[0] if ctx.needs_input_grad[0] else None
    return d_positions, splat(positions, d_totals, images.shape[-1]) if ctx.needs_input_grad[1] else None


_differentiable("splat", _splat_gradients)
_differentiable("gather", _gather_gradients)


@_operation("Tensor points, Tensor edges", "Tensor")
def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """Lengths ``(b e)`` of edges ``(e 2)`` int32 over points ``(b 3 n)``."""
    return points.new_empty(points.shape[0], edges.shape[0])


@_operation("Tensor points, Tensor edges, Tensor lengths, Tensor d_lengths", "Tensor")
def edge_lengths_backward(points: Tensor, edges: Tensor, lengths: Tensor, d_lengths: Tensor) -> Tensor:
    """The derivative of ``<lengths, d_lengths>`` in the points; a collapsed edge has none."""
    return points.new_empty(points.shape)


def _keep_lengths(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _edge_gradients(ctx: Any, d_lengths: Tensor) -> tuple[Tensor, None]:
    return edge_lengths_backward(*ctx.saved_tensors, d_lengths), None


_differentiable("edge_lengths", _edge_gradients, _keep_lengths)


_NETWORK = "Tensor spatial, Tensor latent, Tensor weights, Tensor biases, Tensor w_out"


@_operation(_NETWORK, "Tensor")
def coordinate_mlp(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
    """The network ``(b 3 n)`` of ``spatial`` ``(h n)`` and ``latent`` ``(b h)``; n is a multiple of 16."""
    return spatial.new_empty(latent.shape[0], 3, spatial.shape[1])


@_operation(f"{_NETWORK}, Tensor d_out", "(Tensor, Tensor, Tensor, Tensor, Tensor)")
def coordinate_mlp_backward(
    spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor, d_out: Tensor
) -> tuple[Tensor, ...]:
    """The derivatives of ``<coordinate_mlp(...), d_out>`` in all five inputs."""
    return tuple(t.new_empty(t.shape) for t in (spatial, latent, weights, biases, w_out))


def _network_gradients(ctx: Any, d_out: Tensor) -> tuple[Tensor, ...]:
    return coordinate_mlp_backward(*ctx.saved_tensors, d_out)


_differentiable("coordinate_mlp", _network_gradients)


@_operation(f"Tensor positions, Tensor weights, {_TABLE}, SymInt box", "Tensor")
def mesh_splat(
    positions: Tensor, weights: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor, box: int
) -> Tensor:
    """Images ``(b box box)`` of the points that a mesh carries, its vertices at ``positions`` ``(b v 2)`` in pixels.

    ``weights`` are in the slots of a :class:`~dynaflex.kernels.mesh_table.MeshTable`, whose packed arrays follow.
    """
    return positions.new_empty(positions.shape[0], box, box)


@_operation(f"Tensor positions, Tensor weights, Tensor images, {_TABLE}", "(Tensor, Tensor)")
def mesh_splat_backward(
    positions: Tensor, weights: Tensor, images: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """The derivatives of ``<mesh_splat(positions, weights), images>`` in positions and weights."""
    return positions.new_empty(positions.shape), weights.new_empty(weights.shape)


@_operation(f"Tensor positions, Tensor images, {_TABLE}", "Tensor")
def mesh_gather(
    positions: Tensor, images: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor
) -> Tensor:
    """Images ``(b h h)`` at the points that a mesh carries and summed, slot by slot; empty slots hold anything."""
    return positions.new_empty(steps.shape[0] * LANES)


def _mesh_splat_gradients(ctx: Any, d_images: Tensor) -> tuple[Tensor | None, ...]:
    positions, weights, *table = ctx.saved_tensors
    if ctx.needs_input_grad[0]:
        d_positions, d_weights = mesh_splat_backward(positions, weights, d_images, *table)
    else:
        d_positions, d_weights = None, mesh_gather(positions, d_images, *table)
    return d_positions, d_weights, None, None, None, None, None


def _mesh_gather_gradients(ctx: Any, d_totals: Tensor) -> tuple[Tensor | None, ...]:
    positions, images, *table = ctx.saved_tensors
    needs = ctx.needs_input_grad
    d_positions = mesh_splat_backward(positions, d_totals, images, *table)[0] if needs[0] else None
    d_images = mesh_splat(positions, d_totals, *table, images.shape[-1]) if needs[1] else None
    return d_positions, d_images, None, None, None, None


_differentiable("mesh_splat", _mesh_splat_gradients)
_differentiable("mesh_gather", _mesh_gather_gradients)


@_operation("Tensor positions, Tensor vertices, Tensor inverse_edges, Tensor weights", "(Tensor, Tensor)")
def rigidity(positions: Tensor, vertices: Tensor, inverse_edges: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Energies ``(b)`` and their gradients ``(b 3 v)`` of a mesh with its vertices at ``positions`` ``(b 3 v)`` in Å.

    The other three are the packed arrays of a :class:`~dynaflex.kernels.rigidity_table.RigidityTable`.
    """
    return positions.new_empty(positions.shape[0]), positions.new_empty(positions.shape)


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _rigidity_gradients(ctx: Any, d_energies: Tensor, _: None) -> tuple[Tensor | None, ...]:
    (gradient,) = ctx.saved_tensors
    return gradient * d_energies[:, None, None], None, None, None


_differentiable("rigidity", _rigidity_gradients, _keep_gradient)


@_operation("Tensor(a!) lattice, Tensor values, Tensor rows, Tensor taps", "()")
def insert(lattice: Tensor, values: Tensor, rows: Tensor, taps: Tensor) -> None:
    """Adds coefficients ``values`` ``(b h w c)`` to a ``lattice`` of c channels: one, or real and imaginary parts.

    ``rows`` ``(b 2 3)`` say where, ``taps`` ``(m 4)`` how each is shared: see
    :func:`dynaflex.kernels.reference.insert`.
    """
