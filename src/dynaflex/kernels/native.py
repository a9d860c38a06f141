"""The C kernels through ctypes: float32 on the CPU, threads over disjoint ranges, results independent of their number.

ctypes releases the interpreter lock, so plain Python threads run in parallel. Where a sum runs over points, the points
are cut into a fixed number of chunks that are summed in a fixed order: one thread or sixteen give the same bits.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dynaflex.shapes import Tensor

LANES = 16
WIDTHS = (32, 64)
MAX_LAYERS = 12
_CHUNKS = 16


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where the package was installed without a compiler."""
    path = Path(__file__).with_name("_native.so")
    return ctypes.CDLL(str(path)) if path.exists() else None


def set_threads(count: int) -> None:
    """How many threads the kernels use; at first ``OMP_NUM_THREADS``, or all cores this process may run on."""
    global _threads
    _threads = max(1, count)


def _default_threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = _default_threads()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def _call(name: str, arguments: Sequence[Tensor | int]) -> None:
    pointers = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_int64(a) for a in arguments]
    getattr(library(), name)(*pointers)


def _parallel(work: Callable[[int], None], count: int) -> None:
    """Run ``work(0) ... work(count - 1)`` on the kernels' threads."""
    threads = min(_threads, count)
    if threads <= 1:
        for i in range(count):
            work(i)
    else:
        list(_pool(threads).map(work, range(count)))


def _ranges(total: int, parts: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(total)`` into at most ``parts`` ranges whose ends are multiples of ``multiple``."""
    step = -(-total // parts)
    step = -(-step // multiple) * multiple
    return [(start, min(start + step, total)) for start in range(0, total, step)]


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, weights: Tensor, box: int) -> Tensor:
        positions, weights = positions.contiguous(), weights.contiguous()
        batch, _, points = positions.shape
        images = positions.new_empty(batch, box, box)
        parts = _ranges(batch, _CHUNKS)
        _parallel(
            lambda i: _call("splat_forward", [positions, weights, images, *parts[i], points, box, box]), len(parts)
        )
        ctx.save_for_backward(positions, weights)
        return images

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        positions, weights = ctx.saved_tensors
        images = grads[0].contiguous()
        batch, _, points = positions.shape
        box = images.shape[-1]
        d_positions, d_weights = torch.empty_like(positions), torch.empty_like(weights)
        parts = _ranges(points, _CHUNKS, 64)
        _parallel(
            lambda i: _call(
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
    parts = _ranges(points, _CHUNKS, 64)
    _parallel(
        lambda i: _call("splat_gather", [positions, images, totals, batch, *parts[i], points, box, box]), len(parts)
    )
    return totals


class _EdgeLengths(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, edges: Tensor) -> Tensor:
        points = points.contiguous()
        edges = edges.to(torch.int32).contiguous()
        batch, _, count = points.shape
        lengths = points.new_empty(batch, len(edges))
        parts = _ranges(batch, _CHUNKS)
        _parallel(
            lambda i: _call("edge_lengths_forward", [points, edges, lengths, *parts[i], count, len(edges)]), len(parts)
        )
        ctx.save_for_backward(points, edges, lengths)
        return lengths

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        points, edges, lengths = ctx.saved_tensors
        d_lengths = grads[0].contiguous()
        d_points = torch.empty_like(points)
        batch, _, count = points.shape
        parts = _ranges(batch, _CHUNKS)
        _parallel(
            lambda i: _call(
                "edge_lengths_backward", [points, edges, lengths, d_lengths, d_points, *parts[i], count, len(edges)]
            ),
            len(parts),
        )
        return d_points, None


def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.edge_lengths`."""
    return _EdgeLengths.apply(points, edges)  # type: ignore[no-untyped-call]


class _CoordinateMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
        inputs = [t.contiguous() for t in (spatial, latent, weights, biases, w_out)]
        width, points = spatial.shape
        batch, layers = latent.shape[0], weights.shape[0]
        out = spatial.new_empty(batch, 3, points)
        parts = _ranges(points, _CHUNKS, LANES)
        _parallel(lambda i: _call(f"mlp_forward_{width}", [*inputs, out, layers, batch, *parts[i], points]), len(parts))
        ctx.save_for_backward(*inputs)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        spatial, latent, weights, biases, w_out = ctx.saved_tensors
        d_out = grads[0].contiguous()
        transposed = weights.transpose(1, 2).contiguous()
        width, points = spatial.shape
        parts = _ranges(points, _CHUNKS, LANES)
        d_spatial = torch.empty_like(spatial)
        shared = [torch.zeros(len(parts), *t.shape) for t in (latent, weights, biases, w_out)]
        sizes = [weights.shape[0], latent.shape[0]]
        _parallel(
            lambda i: _call(
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
