"""Splat and gather of points that a mesh carries, and the rigidity of the mesh."""

from __future__ import annotations

import torch

from dynaflex.kernels.native.cpu import CPU
from dynaflex.kernels.native.loading import function
from dynaflex.kernels.native.threads import CHUNKS, parallel, ranges, threads
from dynaflex.kernels.require import require_shape, require_square
from dynaflex.kernels.tetrahedra import LANES
from dynaflex.shapes import Tensor

# How many images share one set of private gradients: 16 chunks of 16 images take 2.5 MB with 1,200 vertices.
_IMAGES = 16

# A chunk of fewer groups costs more for its private gradients than another thread would gain.
_GROUPS = 64


@CPU.kernel
def mesh_splat(
    positions: Tensor, weights: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor, box: int
) -> Tensor:
    """See :func:`dynaflex.kernels.operations.mesh_splat`."""
    positions, table = positions.contiguous(), (vertices, blend, steps, offsets)
    require_shape("weights", weights, len(steps) * LANES)
    images = positions.new_empty(len(positions), box, box)
    forward = function("mesh_splat_forward", positions, *table, weights.contiguous(), images)
    # Images do not depend on each other, so neither do they on how many a call takes.
    parts = ranges(len(positions), threads())
    parallel(lambda i: forward(*parts[i], len(vertices), positions.shape[1], box), len(parts))
    return images


@CPU.kernel
def mesh_splat_backward(
    positions: Tensor, weights: Tensor, images: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """See :func:`dynaflex.kernels.operations.mesh_splat_backward`."""
    positions, weights, images = positions.contiguous(), weights.contiguous(), images.contiguous()
    require_shape("weights", weights, len(steps) * LANES)
    require_square(images, len(positions))
    d_positions, d_weights = torch.empty_like(positions), torch.zeros_like(weights)
    for start in range(0, len(positions), _IMAGES):
        some = slice(start, start + _IMAGES)
        inputs = (positions[some], vertices, blend, steps, offsets, weights, images[some])
        _add_gradients(inputs, d_positions[some], d_weights)
    return d_positions, d_weights


def _add_gradients(inputs: tuple[Tensor, ...], d_positions: Tensor, d_weights: Tensor) -> None:
    """Fill ``d_positions`` and add to ``d_weights``: every chunk of groups has vertices' gradients of its own."""
    (batch, nodes, _), groups, box = d_positions.shape, len(inputs[1]), inputs[-1].shape[-1]
    parts = ranges(groups, min(CHUNKS, 1 + groups // _GROUPS))
    private = d_positions.new_zeros(len(parts), *d_positions.shape)
    backward = function("mesh_splat_backward", *inputs)
    parallel(lambda i: backward(private[i], d_weights, batch, *parts[i], nodes, box), len(parts))
    torch.sum(private, dim=0, out=d_positions)


@CPU.kernel
def mesh_gather(
    positions: Tensor, images: Tensor, vertices: Tensor, blend: Tensor, steps: Tensor, offsets: Tensor
) -> Tensor:
    """See :func:`dynaflex.kernels.operations.mesh_gather`."""
    positions, images = positions.contiguous(), images.contiguous()
    batch, nodes, _ = positions.shape
    require_square(images, batch)
    totals = positions.new_zeros(len(steps) * LANES)
    forward = function("mesh_splat_gather", positions, vertices, blend, steps, offsets, images, totals)
    parts = ranges(len(vertices), CHUNKS)
    parallel(lambda i: forward(batch, *parts[i], nodes, images.shape[-1]), len(parts))
    return totals


@CPU.kernel
def rigidity(positions: Tensor, vertices: Tensor, inverse_edges: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`dynaflex.kernels.operations.rigidity`."""
    positions = positions.contiguous()
    batch, _, nodes = positions.shape
    energies, gradient = positions.new_empty(batch), torch.empty_like(positions)
    energy = function("rigidity_energy", positions, vertices, inverse_edges, weights, energies, gradient)
    parts = ranges(batch, CHUNKS)
    parallel(lambda i: energy(*parts[i], len(vertices), nodes), len(parts))
    return energies, gradient
