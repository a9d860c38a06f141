"""Splat, gather and edge lengths of points that stand for themselves."""

from __future__ import annotations

from typing import Any

import torch

from dynaflex.kernels.native.calls import CHUNKS, call, parallel, ranges
from dynaflex.shapes import Tensor


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, weights: Tensor, box: int) -> Tensor:
        positions, weights = positions.contiguous(), weights.contiguous()
        batch, _, points = positions.shape
        images = positions.new_empty(batch, box, box)
        parts = ranges(batch, CHUNKS)
        parallel(lambda i: call("splat_forward", [positions, weights, images, *parts[i], points, box, box]), len(parts))
        ctx.save_for_backward(positions, weights)
        return images

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        positions, weights = ctx.saved_tensors
        images = grads[0].contiguous()
        batch, _, points = positions.shape
        box = images.shape[-1]
        d_positions, d_weights = torch.empty_like(positions), torch.empty_like(weights)
        parts = ranges(points, CHUNKS, 64)
        parallel(
            lambda i: call(
                "splat_backward",
                [positions, weights, images, d_positions, d_weights, batch, *parts[i], points, box, box],
            ),
            len(parts),
        )
        return d_positions, d_weights, None


def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.reference.splat`."""
    return _Splat.apply(positions, weights, box)  # type: ignore[no-untyped-call]


def gather(positions: Tensor, images: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.gather`; not differentiable."""
    positions, images = positions.contiguous(), images.contiguous()
    batch, _, points = positions.shape
    box = images.shape[-1]
    totals = positions.new_zeros(points)
    parts = ranges(points, CHUNKS, 64)
    parallel(
        lambda i: call("splat_gather", [positions, images, totals, batch, *parts[i], points, box, box]), len(parts)
    )
    return totals


class _EdgeLengths(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, edges: Tensor) -> Tensor:
        points = points.contiguous()
        edges = edges.to(torch.int32).contiguous()
        batch, _, count = points.shape
        lengths = points.new_empty(batch, len(edges))
        parts = ranges(batch, CHUNKS)
        parallel(
            lambda i: call("edge_lengths_forward", [points, edges, lengths, *parts[i], count, len(edges)]), len(parts)
        )
        ctx.save_for_backward(points, edges, lengths)
        return lengths

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        points, edges, lengths = ctx.saved_tensors
        d_lengths = grads[0].contiguous()
        d_points = torch.empty_like(points)
        batch, _, count = points.shape
        parts = ranges(batch, CHUNKS)
        parallel(
            lambda i: call(
                "edge_lengths_backward", [points, edges, lengths, d_lengths, d_points, *parts[i], count, len(edges)]
            ),
            len(parts),
        )
        return d_points, None


def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.edge_lengths`."""
    return _EdgeLengths.apply(points, edges)  # type: ignore[no-untyped-call]
