"""A deformation that is worked out on a lattice, and read in between."""

from __future__ import annotations

import torch

from dynaflex.deformation.base import Deformation, Moves, interpolated
from dynaflex.shapes import Tensor


class OnLattice(Deformation):
    """A deformation evaluated where a cubic lattice of ``spacing`` Å has its nodes, and interpolated linearly between.

    A network over positions knows no detail below its finest wavelength, but is asked about every Gaussian and every
    voxel. The nodes of the cells that hold points are fewer than the points, and the less so the denser these are.
    The lattice is one for all points, so a point moves as it does whatever others are asked about; affine motions,
    rotations among them, are reproduced exactly.
    """

    def __init__(self, network: Deformation, spacing: float) -> None:
        super().__init__()
        self.network = network
        self.spacing = spacing

    def at(self, points: Tensor) -> Moves:
        """What maps latents to the displacements of points ``(n 3)``: those of the nodes around, interpolated."""
        nodes, corners, weights = self.stencil(points)
        at_nodes = self.network.at(nodes)
        return lambda latents: interpolated(at_nodes(latents), corners, weights)

    def stencil(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nodes ``(m 3)`` in Å around points ``(n 3)``, which eight each lies between, and their weights ``(n 8)``.

        The weights sum to one and are differentiable in the points.
        """
        scaled = points / self.spacing
        base = scaled.detach().floor()
        beyond = scaled - base
        sides = torch.stack([1.0 - beyond, beyond], dim=2)
        weights = torch.einsum("na,nb,nc->nabc", sides[:, 0], sides[:, 1], sides[:, 2]).flatten(1)

        low = base.amin(dim=0)
        shape = (base.amax(dim=0) - low).long() + 2
        strides = torch.stack([shape[1] * shape[2], shape[2], torch.ones_like(shape[2])])
        step = torch.arange(2, device=points.device)
        offsets = (step[:, None, None] * strides[0] + step[:, None] * strides[1] + step * strides[2]).flatten()
        flat = ((base - low).long() * strides).sum(dim=1, keepdim=True) + offsets

        used = torch.zeros(int(shape.prod()), dtype=torch.bool, device=points.device)
        used[flat] = True
        taken = used.nonzero()[:, 0]
        number = used.cumsum(0) - 1
        place = torch.stack([taken // strides[0], taken // strides[1] % shape[1], taken % shape[2]], dim=1)
        return (place + low) * self.spacing, number[flat], weights
