"""The backend of the CPU."""

from __future__ import annotations

from dynaflex.kernels.backend import Backend, register
from dynaflex.kernels.native.loading import library
from dynaflex.kernels.native.signatures import INTERFACE
from dynaflex.kernels.native.threads import threads


def _described() -> str:
    if library() is None:
        return "the C kernels were not compiled when dynaflex was installed"
    return f"native C, interface {INTERFACE}, {threads()} thread{'s' * (threads() > 1)}"


CPU = register(Backend("native", "cpu", lambda: library() is not None, _described, without=", many times slower"))
