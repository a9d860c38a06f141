"""How far a flow is from moving every piece of the molecule rigidly."""

from __future__ import annotations

import torch

from dynaflex import kernels
from dynaflex.kernels import RigidityTable
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Tensor

NM3 = 1e-3
"""nm³ in an Å³."""
_GIVE = 0.3
"""Of the mean strain: what is added to that of a cell, so that none is much stiffer than it would be by itself."""


def rigidity(destinations: Tensor, table: RigidityTable) -> Tensor:
    """``sum_j w_j sum_l (s_l - 1)²`` over the cells of a mesh, one value per particle ``(b)``. Implements [3DF 6].

    The weights w_j of the ``table`` are those of :func:`amounts`: the energy of a motion is that of the matter that it
    strains, whatever the cells it is told by.

    ``destinations`` ``(b v 3)`` are the vertices' positions in Å and ``s_l`` the singular values of the cell's A. The
    inner sum is ``|A - R|²`` with R the nearest rotation, so the smallest singular value of a cell that was turned
    inside out counts as negative: unlike in the paper, a mirror image is not rigid.
    """
    return kernels.rigidity(destinations.transpose(1, 2), table)


def amounts(mesh: TetMesh) -> Tensor:
    """What the strain of each cell ``(t)`` counts: its stiffness times its volume in nm³."""
    return mesh.weights * mesh.volumes().to(mesh.weights) * NM3


@torch.no_grad()
def strains(destinations: Tensor, mesh: TetMesh) -> Tensor:
    """``sum_l (s_l - 1)²`` of every cell ``(b t)``, of which :func:`rigidity` is the weighted sum."""
    A, _ = mesh.affine(destinations)
    s = torch.linalg.svdvals(A)
    s[..., 2] *= torch.linalg.det(A).sign()
    return (s - 1.0).square().sum(dim=-1)


def stiffness(strain: Tensor, weights: Tensor) -> Tensor:
    """The ``weights`` ``(t)`` of cells that were strained by ``strain`` ``(t)`` on the mean over particles, made anew.

    What moves has rigid parts and places where it gives. With equal weights a hinge is held back as hard as the inside
    of a domain, which gives way to the noise of the images meanwhile. If the stiffness of each cell is unknown, its
    penalty is the logarithm of its strain; these weights, the derivative of that, make the quadratic energy touch it
    from above. A cell that was never strained becomes 4.3 times as stiff, one that took the mean strain stays as it is.
    Without any strain so do all.
    """
    strain = strain.to(weights)
    mean = (weights @ strain) / weights.sum()
    if not mean > 0.0:
        return weights
    return weights * (1.0 + _GIVE) * mean / (strain + _GIVE * mean)
