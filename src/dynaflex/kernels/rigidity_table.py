"""Tetrahedra at rest, packed sixteen to a group, for the rigidity kernel."""

from __future__ import annotations

import copy

import torch

from dynaflex.kernels.tetrahedra import LANES, inverse_edges, on_device
from dynaflex.shapes import Tensor


class RigidityTable:
    """What the rigidity energy needs to know of a mesh at rest.

    ``vertices`` ``(v 3)`` in Å and ``cells`` ``(t 4)`` are the mesh, ``weights`` ``(t)`` the stiffness of its cells.
    ``inverse_edges`` ``(t 3 3)`` turns the three edges of a moved cell, as columns, into its deformation gradient
    ``F = edges @ inverse_edges``. ``nodes`` is v and ``count`` is t.

    Raises ``ValueError`` where a cell has no volume or the weights are not one per cell.
    """

    def __init__(self, vertices: Tensor, cells: Tensor, weights: Tensor) -> None:
        vertices, cells, weights = (t.detach().cpu() for t in (vertices.double(), cells.long(), weights.double()))
        if weights.shape != cells.shape[:1]:
            raise ValueError(f"{tuple(weights.shape)} weights do not fit {len(cells)} cells")
        self.nodes = len(vertices)
        self.count = len(cells)
        self.vertex = cells
        self.inverse_edges = inverse_edges(vertices[cells])
        self.weights = weights
        self.packed_vertex = _by_lane(cells).to(torch.int32)
        self.packed_inverse = _by_lane(self.inverse_edges.flatten(1)).float()
        self.packed_weights = torch.nn.functional.pad(weights.float(), (0, -len(cells) % LANES)).view(-1, LANES)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.vertex.device

    @property
    def packed(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arrays that compiled kernels read: vertices, inverse edges and weights, sixteen cells to a group."""
        return self.packed_vertex, self.packed_inverse, self.packed_weights

    def to(self, device: torch.device | str) -> RigidityTable:
        """The table on a device; away from the CPU it is float32."""
        if torch.device(device) == self.device:
            return self
        moved = copy.copy(self)
        vars(moved).update(on_device(self, device))
        return moved


def _by_lane(values: Tensor) -> Tensor:
    """Values ``(t c)`` of cells as ``(groups c lanes)``; the last group is filled up with copies of the last cell."""
    missing = -len(values) % LANES
    filled = torch.cat([values, values[-1:].expand(missing, -1)])
    return filled.unflatten(0, (-1, LANES)).transpose(1, 2).contiguous()
