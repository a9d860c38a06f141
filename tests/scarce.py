"""A machine whose memory runs out at one place of the work on particles, and at that place only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Scarce(TorchDispatchMode):
    """Counts the operations that take new memory for several particles at once, and lets one of them fail.

    Those are results that hold as much for each of several particles as the coefficients of an image of ``box`` pixels,
    or more: volumes, and what a model or its optimiser holds, cannot be halved. ``places`` are the lines of the sources
    that the counted ones stand in.
    """

    def __init__(self, box: int, at: int | None = None, error: Callable[[], Exception] | None = None) -> None:
        super().__init__()
        self.box, self.at = box, at
        self.error = error or (lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
        self.places: list[str] = []

    def __torch_dispatch__(self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if any(returned.alias_info is not None for returned in operation._schema.returns):
            return result
        if any(self._counts(value) for value in (result if isinstance(result, tuple | list) else (result,))):
            place = _place()
            if place.startswith("grid.py"):
                # Frequencies, which no particle has for itself.
                return result
            self.places.append(place)
            if len(self.places) - 1 == self.at:
                raise self.error()
        return result

    def _counts(self, value: Any) -> bool:
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.dim() < 2:
            return False
        image = 8 * self.box * (self.box // 2 + 1)
        return 1 < value.shape[0] <= 64 and value.shape[0] % self.box > 0 and value.nbytes >= image * value.shape[0]


def _place() -> str:
    frame = sys._getframe(2)
    while "/dynaflex/" not in frame.f_code.co_filename or "/tests/" in frame.f_code.co_filename:
        if frame.f_back is None:
            return "elsewhere"
        frame = frame.f_back
    return f"{frame.f_code.co_filename.split('/dynaflex/')[-1]}:{frame.f_lineno}"
