"""What both tables need to know of tetrahedra at rest."""

from __future__ import annotations

import torch

from dynaflex.shapes import Tensor

LANES = 16
_FLAT = 1e-9


def inverse_edges(corners: Tensor) -> Tensor:
    """Inverses ``(t 3 3)`` of the edges from the first of the corners ``(t 4 3)`` to the others, as columns.

    Row k is the gradient of barycentric coordinate k + 1. Raises ``ValueError`` for a tetrahedron without volume.
    """
    edges = (corners[:, 1:] - corners[:, :1]).transpose(1, 2)
    flat = ~(torch.linalg.det(edges).abs() > _FLAT * torch.linalg.matrix_norm(edges) ** 3)
    if bool(flat.any()):
        raise ValueError(f"{int(flat.count_nonzero())} of {len(flat)} tetrahedra have no volume")
    return torch.linalg.inv(edges)


def on_device(table: object, device: torch.device | str) -> dict[str, object]:
    """The attributes of a table on a device, in single precision: not every accelerator has another."""
    return {
        name: (value.float() if value.is_floating_point() else value).to(device) if torch.is_tensor(value) else value
        for name, value in vars(table).items()
    }
