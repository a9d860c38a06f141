"""The kernels in plain torch: any device, any precision. The truth that every other backend is tested against."""

from __future__ import annotations

import torch

from dynaflex.shapes import Tensor


def _spline_weights(fraction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four cubic B-spline weights around a point ``fraction`` of a pixel past its pixel."""
    f, g = fraction, 1.0 - fraction
    first, last = g**3 / 6.0, f**3 / 6.0
    second = 2.0 / 3.0 - f.square() * (1.0 - 0.5 * f)
    return first, second, 1.0 - first - second - last, last


def _taps(positions: Tensor, box: int) -> tuple[Tensor, Tensor]:
    """Flat pixel indices and weights of the 4 x 4 pixels of every point, each ``(b 16 n)``; outside points weigh 0."""
    base = positions.detach().floor()
    fraction = positions - base
    corner = base.long() - 1
    inside = ((corner >= 0) & (corner < box - 3)).all(dim=1)
    start = torch.where(inside, corner[:, 1] * box + corner[:, 0], 0)
    wx, wy = _spline_weights(fraction[:, 0]), _spline_weights(fraction[:, 1])
    index = torch.stack([start + (j * box + i) for j in range(4) for i in range(4)], dim=1)
    weight = torch.stack([wy[j] * wx[i] for j in range(4) for i in range(4)], dim=1)
    return index, torch.where(inside[:, None, :], weight, 0.0)


def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """Spread points at ``positions`` ``(b 2 n)`` in pixels, of ``weights`` ``(n)``, onto images ``(b box box)``."""
    index, weight = _taps(positions, box)
    batch = positions.shape[0]
    flat = torch.zeros(batch, box * box, dtype=weight.dtype, device=weight.device)
    flat = flat.scatter_add(1, index.flatten(1), (weight * weights).flatten(1))
    return flat.view(batch, box, box)


def gather(positions: Tensor, images: Tensor) -> Tensor:
    """Images ``(b h h)`` interpolated at ``positions`` ``(b 2 n)`` and summed, ``(n)``: the adjoint of splat."""
    index, weight = _taps(positions, images.shape[-1])
    values = images.flatten(1).gather(1, index.flatten(1)).view_as(weight)
    return (values * weight).sum(dim=(0, 1))


def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """Lengths ``(b e)`` of edges ``(e 2)`` over points ``(b 3 n)``; a collapsed edge has gradient 0."""
    vectors = points[:, :, edges[:, 0]] - points[:, :, edges[:, 1]]
    return torch.linalg.vector_norm(vectors, dim=1)


def coordinate_mlp(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
    """The coordinate network ``(b 3 n)`` from the split first layer, ``spatial`` ``(h n)`` and ``latent`` ``(b h)``.

    ``weights`` ``(l h h)`` and ``biases`` ``(l h)`` are the hidden layers, ``w_out`` ``(3 h)`` the last one.
    """
    hidden = torch.nn.functional.elu(spatial.T[None] + latent[:, None, :])
    for weight, bias in zip(weights, biases, strict=True):
        hidden = torch.nn.functional.elu(torch.nn.functional.linear(hidden, weight, bias))
    return (hidden @ w_out.T).transpose(1, 2)
