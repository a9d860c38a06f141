"""Who computes: the compiled kernels of a device where there are some, and plain torch everywhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from dynaflex.kernels.operations import library
from dynaflex.shapes import Tensor

REFERENCE = "reference"
SWITCH = "DYNAFLEX_KERNELS"
"""The environment variable that, set to ``reference``, switches every compiled backend off."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Backend:
    """Compiled kernels, in single precision, for one type of ``device`` (``cpu``, ``cuda``).

    ``available`` is asked before every call; ``described`` says in a few words what the kernels are, or why they are
    not available. ``operations`` are those that have a kernel; for the others torch takes its place. ``without`` says
    what it costs to do without, where that was measured.
    """

    name: str
    device: str
    available: Callable[[], bool]
    described: Callable[[], str]
    operations: set[str] = field(default_factory=set)
    without: str = ""

    def kernel(self, function: F) -> F:
        """The decorated function computes the operation of its name on this device."""
        library.impl(function.__name__, function, self.device.upper())
        self.operations.add(function.__name__)
        return function


_backends: dict[str, Backend] = {}


def register(backend: Backend) -> Backend:
    """Let a backend serve its device."""
    _backends[backend.device] = backend
    return backend


def serving(sample: Tensor) -> Backend | None:
    """The compiled backend that serves tensors like ``sample``; None where that is plain torch's."""
    found = _backends.get(sample.device.type) if sample.dtype == torch.float32 else None
    if found is None or os.environ.get(SWITCH) == REFERENCE or not found.available():
        return None
    return found


def backend(sample: Tensor) -> str:
    """The name of the backend that serves tensors like ``sample``: ``native``, ``triton`` or ``reference``."""
    serves = serving(sample)
    return REFERENCE if serves is None else serves.name


def described(device: torch.device | str) -> str:
    """What computes in single precision on a device, for people and for the record of a run.

    Raises:
        EnvironmentFault: the compiled kernels of that device are not those of this version.
    """
    compiled = _backends.get(torch.device(device).type)
    if compiled is None:
        return f"{REFERENCE} (plain torch): no kernels are compiled for {torch.device(device).type}"
    if os.environ.get(SWITCH) == REFERENCE:
        return f"{REFERENCE} (plain torch){compiled.without}: {SWITCH}={REFERENCE}"
    if not compiled.available():
        return f"{REFERENCE} (plain torch){compiled.without}: {compiled.described()}"
    return compiled.described()
