"""Points that go with a model: all that can be known about their motion before the latents are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.spatial import cKDTree

from dynaflex.deformation.lattice import OnLattice
from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.pipelines.predict import TrainedHalf
from dynaflex.shapes import Tensor


class Followers:
    """Points ``(n 3)`` in Å that are carried by the model of a half.

    Every point moves by a mean of ``corners`` ``(n c)`` with ``weights`` ``(n c)``: nodes of a lattice of ``spacing`` Å
    around it, unless the model has one of its own, or vertices of the mesh that carries it.
    """

    def __init__(self, trained: TrainedHalf, points: Tensor, spacing: float) -> None:
        self.points = points
        self._at_corners, self.corners, self.weights = _stencil(trained, points, spacing)

    @torch.no_grad()
    def moves(self, latents: Tensor) -> Tensor:
        """The displacements ``(n 3)`` in Å of the points in the conformation ``latents`` ``(k)``."""
        at_corners = self._at_corners(latents[None])
        return torch.nn.functional.embedding_bag(self.corners, at_corners, per_sample_weights=self.weights, mode="sum")


def _stencil(trained: TrainedHalf, points: Tensor, spacing: float) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
    """How the points ``(n 3)`` move: displacements ``(m 3)`` at corners, which corners ``(n c)``, weights ``(n c)``."""
    deformation = trained.model.deformation
    if isinstance(deformation, MeshFlow):
        # The rule of MeshFlow.displacement; only the vertices move with the latents, so the rest is found once.
        distance, site = cKDTree(deformation.sites.numpy()).query(points.numpy())
        nearest, near = torch.from_numpy(site), torch.from_numpy(distance <= deformation.reach)
        cell = deformation.site_cell[nearest]
        weights = deformation.mesh.barycentric(torch.where(near[:, None], points, deformation.sites[nearest]), cell)
        return (lambda z: deformation.vertex_displacement(z)[0].contiguous()), deformation.cells[cell], weights
    lattice = deformation if isinstance(deformation, OnLattice) else OnLattice(deformation, spacing)
    nodes, corners, weights = lattice.stencil(points)
    return (lambda z: lattice.network.displacement(z, nodes)[0].contiguous()), corners, weights
