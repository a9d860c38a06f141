"""The hot loops behind one set of functions: the kernels compiled for a device, and torch everywhere else.

Each is an operation of torch (:mod:`~dynaflex.kernels.operations`); a backend has the kernels of one device, in float32
(``native/``: C on the CPU, ``triton/``: Triton on GPUs). ``DYNAFLEX_KERNELS=reference`` switches what is compiled off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, TypeVar

from dynaflex.kernels import compiled, native, reference, triton
from dynaflex.kernels.backend import backend, described, serving
from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.kernels.rigidity_table import RigidityTable
from dynaflex.shapes import Tensor

__all__ = [
    "MeshTable",
    "RigidityTable",
    "backend",
    "coordinate_mlp",
    "described",
    "edge_lengths",
    "gather",
    "insert",
    "mesh_gather",
    "mesh_splat",
    "native",
    "rigidity",
    "splat",
    "triton",
]

P = ParamSpec("P")
R = TypeVar("R")
Kernel = Callable[Concatenate[Tensor, P], R]


def _served(plain: Kernel[P, R], ours: Kernel[P, R]) -> Kernel[P, R]:
    """The function that is ``ours`` where a compiled backend serves its first argument, and ``plain`` elsewhere."""
    operation = plain.__name__

    def function(first: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        found = serving(first)
        compiled_here = found is not None and operation in found.operations
        return (ours if compiled_here else plain)(first, *args, **kwargs)

    return update_wrapper(function, plain)


splat = _served(reference.splat, compiled.splat)
gather = _served(reference.gather, compiled.gather)
edge_lengths = _served(reference.edge_lengths, compiled.edge_lengths)
coordinate_mlp = _served(reference.coordinate_mlp, compiled.coordinate_mlp)
mesh_splat = _served(reference.mesh_splat, compiled.mesh_splat)
mesh_gather = _served(reference.mesh_gather, compiled.mesh_gather)
insert = _served(reference.insert, compiled.insert)
rigidity = _served(reference.rigidity, compiled.rigidity)
