"""Planes of coefficients put into a lattice of Fourier space."""

from __future__ import annotations

from dynaflex.kernels.native.cpu import CPU
from dynaflex.kernels.native.loading import function
from dynaflex.kernels.native.threads import parallel, ranges, threads
from dynaflex.kernels.require import require_shape
from dynaflex.shapes import Tensor


@CPU.kernel
def insert(lattice: Tensor, values: Tensor, rows: Tensor, taps: Tensor) -> None:
    """See :func:`dynaflex.kernels.operations.insert`; every thread writes nodes of its own."""
    images, box, _, channels = values.shape
    size = lattice.shape[0] - 4
    require_shape("lattice", lattice, size + 4, size + 4, size // 2 + 5, channels)
    require_shape("values", values, images, box, box // 2 + 1, channels)
    require_shape("rows", rows, images, 2, 3)
    require_shape("taps", taps, len(taps), 4)
    name = {1: "insert_real", 2: "insert_complex"}[channels]
    forward = function(name, rows.contiguous(), values.contiguous(), taps.contiguous(), lattice)
    parts = ranges(size + 4, threads())
    parallel(lambda i: forward(images, box, size, len(taps), *parts[i]), len(parts))
