"""The functions of :mod:`dynaflex.kernels.reference` by the operations that compiled backends serve."""

from __future__ import annotations

import torch

from dynaflex.kernels import operations, reference
from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.kernels.rigidity_table import RigidityTable
from dynaflex.kernels.tetrahedra import LANES
from dynaflex.shapes import Tensor


def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.reference.splat`."""
    return operations.splat(positions, weights, box)


def gather(positions: Tensor, images: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.gather`."""
    return operations.gather(positions, images)


def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.edge_lengths`."""
    return operations.edge_lengths(points, edges.to(torch.int32))


def coordinate_mlp(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
    """See :func:`dynaflex.kernels.reference.coordinate_mlp`, which serves the networks that are not compiled."""
    width, points = spatial.shape
    if width not in operations.WIDTHS or len(weights) > operations.MAX_LAYERS:
        return reference.coordinate_mlp(spatial, latent, weights, biases, w_out)
    padded = torch.nn.functional.pad(spatial, (0, -points % LANES))
    return operations.coordinate_mlp(padded, latent, weights, biases, w_out)[:, :, :points]


def mesh_splat(positions: Tensor, weights: Tensor, table: MeshTable, box: int) -> Tensor:
    """See :func:`dynaflex.kernels.reference.mesh_splat`."""
    pairs = _pairs(positions, table)
    return operations.mesh_splat(pairs, table.in_slots(weights), *table.packed, box)


def mesh_gather(positions: Tensor, images: Tensor, table: MeshTable) -> Tensor:
    """See :func:`dynaflex.kernels.reference.mesh_gather`."""
    return operations.mesh_gather(_pairs(positions, table), images, *table.packed).index_select(0, table.slot)


def rigidity(positions: Tensor, table: RigidityTable) -> Tensor:
    """See :func:`dynaflex.kernels.reference.rigidity`."""
    _require_fit(positions, table)
    energies, _ = operations.rigidity(positions, *table.packed)
    return energies


def insert(lattice: Tensor, values: Tensor, rows: Tensor, taps: Tensor) -> None:
    """See :func:`dynaflex.kernels.reference.insert`."""
    operations.insert(lattice, values, rows, taps)


def _pairs(positions: Tensor, table: MeshTable) -> Tensor:
    """Positions as ``(b v 2)``: the kernels fetch a vertex at a time."""
    _require_fit(positions, table)
    return positions.transpose(1, 2).contiguous()


def _require_fit(positions: Tensor, table: MeshTable | RigidityTable) -> None:
    """The kernels go where the table sends them."""
    nodes, device = positions.shape[2], positions.device
    if nodes != table.nodes or device != table.device:
        raise ValueError(f"{nodes} vertices on {device} do not fit a table of {table.nodes} on {table.device}")
