"""The C kernels through ctypes: float32 on the CPU, one result for any number of threads."""

from __future__ import annotations

from dynaflex.kernels.native import mesh, mlp, planes, points
from dynaflex.kernels.native.loading import library
from dynaflex.kernels.native.threads import set_threads, threads

__all__ = ["library", "mesh", "mlp", "planes", "points", "set_threads", "threads"]
