"""The flow generator of 3DFlex: a network that moves the vertices of a mesh."""

from __future__ import annotations

import torch

from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.deformation.on_mesh import OnMesh
from dynaflex.deformation.still import Apart, Still
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Tensor


class MeshFlow(OnMesh):
    """Vertex displacements ``f(z, x) - mean f(anchors, x) + common(x)``, with f a network over latent and position.

    One network moves all vertices, where the paper's has three outputs for each: what images say of a vertex is known
    of its neighbours (ADR 0032). Where segments lie side by side, or over each other, f tells them apart by a vector of
    each that the first layer is given, zero at first. What conformations have in common is not for f to say but for the
    canonical map, so that neither drifts (ADR 0042): in the mean over the ``anchors`` ``(2k k)``, all zero at first,
    vertices are where ``common`` ``(v 3)`` has them, until the two :meth:`settle` anew. The motion of what stands
    ``still`` is taken off too, once that was found. Vertices that are ``fixed`` stay, and nothing moves along
    coordinates that are not ``active`` ``(k)``, 0 or 1.
    """

    anchors: Tensor
    common: Tensor
    active: Tensor
    encoded: Tensor
    owner: Tensor

    def __init__(
        self,
        mesh: TetMesh,
        latent_dim: int,
        sites: Tensor,
        site_cell: Tensor,
        spacing: float,
        *,
        layers: int = 4,
        width: int = 32,
        start: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(mesh, sites, site_cell, spacing)
        extent = 2.0 * float(mesh.vertices.abs().max())
        self.network = CoordinateMLP(latent_dim, extent, layers=layers, width=width, start=start, generator=generator)
        self.of_segment = torch.nn.Parameter(torch.zeros(int(mesh.segment.max()) + 1, width))
        self.register_buffer("anchors", torch.zeros(2 * latent_dim, latent_dim))
        self.register_buffer("common", torch.zeros_like(mesh.vertices))
        self.register_buffer("active", torch.ones(latent_dim))
        self.still = Still(mesh.vertices)
        self.register_buffer("encoded", self.network.encode_positions(mesh.vertices))
        self.register_buffer("owner", _owners(mesh))

    def vertex_displacement(self, latents: Tensor) -> Tensor:
        """Displacements ``(b v 3)`` in Å of the vertices for latents ``(b k)``; in memory as ``(b 3 v)``."""
        moved = self._moved(latents)
        return (moved - self.still.moved(moved)) * (~self.fixed[:, None])

    def effective(self, latents: Tensor) -> Tensor:
        """Latents ``(b k)`` with 0 for those along which nothing moves."""
        return latents * self.active

    def find_still(self, latents: Tensor, mass: Tensor) -> None:
        """Find what stands still in the conformations ``latents`` ``(b k)``, where the vertices have a ``mass``
        ``(v)``."""
        self.still.find(self._moved(latents), mass)

    def apart(self) -> Apart:
        """Motion of the whole, which is taken off, and that within, each by latents of its own."""
        return Apart(self, self.still, self._moved)

    def _moved(self, latents: Tensor) -> Tensor:
        """As :meth:`vertex_displacement`, with the motion of what stands still, and by all vertices."""
        spatial = self.network.w_space @ self.encoded.T + self.of_segment[self.owner].T
        moved = self.network.moved(spatial, torch.cat([self.anchors, latents]) * self.active)
        anchored, moved = moved.tensor_split([len(self.anchors)])
        return moved - (anchored.mean(dim=0) - self.common)

    @torch.no_grad()
    def settle(self, anchors: Tensor) -> None:
        """Let the mesh be at rest at z = 0, and hold the mean displacement that conformations have there, as told by
        ``anchors`` ``(2k k)``."""
        self._rest_at(torch.zeros_like(anchors[0]))
        self.common = self._moved(anchors).mean(dim=0)
        self.anchors = anchors

    def _rest_at(self, origin: Tensor) -> None:
        self.anchors, self.common = origin[None], torch.zeros_like(self.common)

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Take latents that were multiplied with ``rotation`` ``(k k)`` for what they were before."""
        self.network.w_latent.copy_(self.network.w_latent @ rotation.T)
        self.anchors.copy_(self.anchors @ rotation.T)


def _owners(mesh: TetMesh) -> Tensor:
    """The segment ``(v)`` of every vertex; the first of those that share one."""
    owner = torch.full((len(mesh.vertices),), int(mesh.segment.max()), device=mesh.segment.device)
    return owner.scatter_reduce(0, mesh.cells.flatten(), mesh.segment[:, None].expand_as(mesh.cells).flatten(), "amin")
