"""How far a flow is from moving every piece of the molecule rigidly."""

from __future__ import annotations

from dynaflex import kernels
from dynaflex.kernels import RigidityTable
from dynaflex.shapes import Tensor


def rigidity(destinations: Tensor, table: RigidityTable) -> Tensor:
    """``sum_j w_j sum_l (s_l - 1)²`` over the cells of a mesh, one value per particle ``(b)``. Implements [3DF 6].

    ``destinations`` ``(b v 3)`` are the vertices' positions in Å and ``s_l`` the singular values of the cell's A. The
    inner sum is ``|A - R|²`` with R the nearest rotation, so the smallest singular value of a cell that was turned
    inside out counts as negative: unlike in the paper, a mirror image is not rigid.
    """
    return kernels.rigidity(destinations.transpose(1, 2), table)
