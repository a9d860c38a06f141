"""The C kernels through ctypes: float32 on the CPU, one result for any number of threads."""

from __future__ import annotations

from dynaflex.kernels.native.calls import library, set_threads
from dynaflex.kernels.native.mesh import mesh_gather, mesh_splat, rigidity
from dynaflex.kernels.native.mlp import MAX_LAYERS, WIDTHS, coordinate_mlp
from dynaflex.kernels.native.points import edge_lengths, gather, splat
from dynaflex.kernels.tetrahedra import LANES

__all__ = [
    "LANES",
    "MAX_LAYERS",
    "WIDTHS",
    "coordinate_mlp",
    "edge_lengths",
    "gather",
    "library",
    "mesh_gather",
    "mesh_splat",
    "rigidity",
    "set_threads",
    "splat",
]
