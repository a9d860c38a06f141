"""The coordinate network."""

from __future__ import annotations

from typing import Any

import torch

from dynaflex.kernels.native.calls import CHUNKS, call, parallel, ranges
from dynaflex.kernels.tetrahedra import LANES
from dynaflex.shapes import Tensor

WIDTHS = (32, 64)
MAX_LAYERS = 12


class _CoordinateMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
        inputs = [t.contiguous() for t in (spatial, latent, weights, biases, w_out)]
        width, points = spatial.shape
        batch, layers = latent.shape[0], weights.shape[0]
        out = spatial.new_empty(batch, 3, points)
        parts = ranges(points, CHUNKS, LANES)
        parallel(lambda i: call(f"mlp_forward_{width}", [*inputs, out, layers, batch, *parts[i], points]), len(parts))
        ctx.save_for_backward(*inputs)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        spatial, latent, weights, biases, w_out = ctx.saved_tensors
        d_out = grads[0].contiguous()
        transposed = weights.transpose(1, 2).contiguous()
        width, points = spatial.shape
        parts = ranges(points, CHUNKS, LANES)
        d_spatial = torch.empty_like(spatial)
        shared = [torch.zeros(len(parts), *t.shape) for t in (latent, weights, biases, w_out)]
        sizes = [weights.shape[0], latent.shape[0]]
        parallel(
            lambda i: call(
                f"mlp_backward_{width}",
                [spatial, latent, weights, transposed, biases, w_out, d_out, d_spatial]
                + [total[i] for total in shared]
                + [*sizes, *parts[i], points],
            ),
            len(parts),
        )
        return d_spatial, *(total.sum(0) for total in shared)


def coordinate_mlp(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.coordinate_mlp`."""
    points = spatial.shape[1]
    padded = torch.nn.functional.pad(spatial, (0, -points % LANES))
    out = _CoordinateMlp.apply(padded, latent, weights, biases, w_out)  # type: ignore[no-untyped-call]
    return out[:, :, :points]
