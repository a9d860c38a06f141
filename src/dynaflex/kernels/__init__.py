"""The hot loops behind one set of functions: torch everywhere, C where it is compiled and float32 is on the CPU.

``DYNAFLEX_KERNELS=reference`` switches the C kernels off.
"""

from __future__ import annotations

import os

import torch

from dynaflex.kernels import native, reference
from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.kernels.rigidity_table import RigidityTable
from dynaflex.shapes import Tensor

__all__ = [
    "MeshTable",
    "RigidityTable",
    "backend",
    "coordinate_mlp",
    "edge_lengths",
    "gather",
    "mesh_gather",
    "mesh_splat",
    "rigidity",
    "splat",
]


def backend(sample: Tensor) -> str:
    """Which backend serves tensors like ``sample``: ``native`` or ``reference``."""
    wanted = os.environ.get("DYNAFLEX_KERNELS", "native")
    fits = sample.device.type == "cpu" and sample.dtype == torch.float32
    return "native" if wanted == "native" and fits and native.library() is not None else "reference"


def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.reference.splat`."""
    return (native if backend(positions) == "native" else reference).splat(positions, weights, box)


def gather(positions: Tensor, images: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.gather`."""
    return (native if backend(positions) == "native" else reference).gather(positions, images)


def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.edge_lengths`."""
    return (native if backend(points) == "native" else reference).edge_lengths(points, edges)


def coordinate_mlp(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.coordinate_mlp`; C serves widths 32 and 64 up to 12 hidden layers."""
    small = spatial.shape[0] in native.WIDTHS and weights.shape[0] <= native.MAX_LAYERS
    module = native if small and backend(spatial) == "native" else reference
    return module.coordinate_mlp(spatial, latent, weights, biases, w_out)


def mesh_splat(positions: Tensor, weights: Tensor, table: MeshTable, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.reference.mesh_splat`."""
    return (native if backend(positions) == "native" else reference).mesh_splat(positions, weights, table, box)


def mesh_gather(positions: Tensor, images: Tensor, table: MeshTable) -> Tensor:
    """See :func:`dynaflex.kernels.reference.mesh_gather`."""
    return (native if backend(positions) == "native" else reference).mesh_gather(positions, images, table)


def rigidity(positions: Tensor, table: RigidityTable) -> Tensor:
    """See :func:`dynaflex.kernels.reference.rigidity`."""
    return (native if backend(positions) == "native" else reference).rigidity(positions, table)
