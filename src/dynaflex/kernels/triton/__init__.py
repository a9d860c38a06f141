"""The kernels of NVIDIA GPUs in Triton: float32, in use where torch finds a GPU and ``triton`` can be imported.

Nothing here imports triton before the first tensor on a GPU is served. The modules that hold kernels are imported then,
by :mod:`~dynaflex.kernels.triton.cuda`, which asks for a proof first (:mod:`~dynaflex.kernels.triton.trial`).

Sums are taken in a fixed order but for one: a splat adds points to pixels with atomics, and in what order they come is
the hardware's to say. The last digits of an image differ from call to call, as they do with torch's own ``scatter_add``
on a GPU. No kernel waits for the device, or asks it for a number.
"""

from __future__ import annotations

from dynaflex.kernels.triton.cuda import CUDA

__all__ = ["CUDA"]
