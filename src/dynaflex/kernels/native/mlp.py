"""The coordinate network."""

from __future__ import annotations

import torch

from dynaflex.kernels.native.cpu import CPU
from dynaflex.kernels.native.loading import function
from dynaflex.kernels.native.threads import CHUNKS, parallel, ranges
from dynaflex.kernels.operations import MAX_LAYERS
from dynaflex.kernels.require import require_shape
from dynaflex.kernels.tetrahedra import LANES
from dynaflex.shapes import Tensor


@CPU.kernel
def coordinate_mlp(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.operations.coordinate_mlp`."""
    inputs = [t.contiguous() for t in (spatial, latent, weights, biases, w_out)]
    width, points, batch, layers = _sizes(*inputs)
    out = spatial.new_empty(batch, 3, points)
    forward = function(f"mlp_forward_{width}", *inputs, out)
    parts = ranges(points, CHUNKS, LANES)
    parallel(lambda i: forward(layers, batch, *parts[i], points), len(parts))
    return out


@CPU.kernel
def coordinate_mlp_backward(
    spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor, d_out: Tensor
) -> tuple[Tensor, ...]:
    """See :func:`dynaflex.kernels.operations.coordinate_mlp_backward`."""
    spatial, latent, weights, biases, w_out = (t.contiguous() for t in (spatial, latent, weights, biases, w_out))
    width, points, batch, layers = _sizes(spatial, latent, weights, biases, w_out)
    require_shape("gradients", d_out, batch, 3, points)
    transposed = weights.transpose(1, 2).contiguous()
    parts = ranges(points, CHUNKS, LANES)
    d_spatial = torch.empty_like(spatial)
    shared = [torch.zeros(len(parts), *t.shape) for t in (latent, weights, biases, w_out)]
    backward = function(
        f"mlp_backward_{width}", spatial, latent, weights, transposed, biases, w_out, d_out.contiguous(), d_spatial
    )
    parallel(
        lambda i: backward(*(total[i] for total in shared), layers, batch, *parts[i], points),
        len(parts),
    )
    return d_spatial, *(total.sum(0) for total in shared)


def _sizes(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> tuple[int, ...]:
    (width, points), batch, layers = spatial.shape, len(latent), len(weights)
    if points % LANES or layers > MAX_LAYERS:
        raise ValueError(f"{points} points, {layers} layers: expected a multiple of {LANES}, at most {MAX_LAYERS}")
    require_shape("latents", latent, batch, width)
    require_shape("weights", weights, layers, width, width)
    require_shape("biases", biases, layers, width)
    require_shape("last weights", w_out, 3, width)
    return width, points, batch, layers
