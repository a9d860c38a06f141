"""Splat, gather and edge lengths of points that stand for themselves."""

from __future__ import annotations

import torch

from dynaflex.kernels.native.cpu import CPU
from dynaflex.kernels.native.loading import function
from dynaflex.kernels.native.threads import CHUNKS, parallel, ranges
from dynaflex.kernels.require import require_shape, require_square
from dynaflex.shapes import Tensor


@CPU.kernel
def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.operations.splat`; images do not depend on each other."""
    batch, _, points = positions.shape
    require_shape("weights", weights, points)
    images = positions.new_empty(batch, box, box)
    forward = function("splat_forward", positions.contiguous(), weights.contiguous(), images)
    parts = ranges(batch, CHUNKS)
    parallel(lambda i: forward(*parts[i], points, box, box), len(parts))
    return images


@CPU.kernel
def splat_backward(positions: Tensor, weights: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`dynaflex.kernels.operations.splat_backward`."""
    positions, weights, images = positions.contiguous(), weights.contiguous(), images.contiguous()
    (batch, _, points), box = positions.shape, images.shape[-1]
    require_shape("weights", weights, points)
    require_square(images, batch)
    d_positions, d_weights = torch.empty_like(positions), torch.empty_like(weights)
    backward = function("splat_backward", positions, weights, images, d_positions, d_weights)
    parts = ranges(points, CHUNKS, 64)
    parallel(lambda i: backward(batch, *parts[i], points, box, box), len(parts))
    return d_positions, d_weights


@CPU.kernel
def gather(positions: Tensor, images: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.operations.gather`."""
    (batch, _, points), box = positions.shape, images.shape[-1]
    require_square(images, batch)
    totals = positions.new_zeros(points)
    forward = function("splat_gather", positions.contiguous(), images.contiguous(), totals)
    parts = ranges(points, CHUNKS, 64)
    parallel(lambda i: forward(batch, *parts[i], points, box, box), len(parts))
    return totals


@CPU.kernel
def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.operations.edge_lengths`."""
    batch, _, count = points.shape
    lengths = points.new_empty(batch, len(edges))
    forward = function("edge_lengths_forward", points.contiguous(), edges.contiguous(), lengths)
    parts = ranges(batch, CHUNKS)
    parallel(lambda i: forward(*parts[i], count, len(edges)), len(parts))
    return lengths


@CPU.kernel
def edge_lengths_backward(points: Tensor, edges: Tensor, lengths: Tensor, d_lengths: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.operations.edge_lengths_backward`."""
    points, edges = points.contiguous(), edges.contiguous()
    batch, _, count = points.shape
    require_shape("lengths", lengths, batch, len(edges))
    require_shape("gradients", d_lengths, batch, len(edges))
    d_points = torch.empty_like(points)
    backward = function("edge_lengths_backward", points, edges, lengths, d_lengths.contiguous(), d_points)
    parts = ranges(batch, CHUNKS)
    parallel(lambda i: backward(*parts[i], count, len(edges)), len(parts))
    return d_points
