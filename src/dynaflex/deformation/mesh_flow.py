"""The flow generator of 3DFlex: a network that moves the vertices of a mesh."""

from __future__ import annotations

import math

import torch

from dynaflex.deformation.on_mesh import OnMesh
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Tensor


class MeshFlow(OnMesh):
    """Vertex displacements ``u(z) - x = f(z) - f(0)``.

    f has ``layers`` hidden layers of ``width`` units with ReLU; the last, linear and without bias, gives the
    displacements in units of ``unit`` Å and starts small. Taking off f(0) makes z = 0 the conformation of the canonical
    map, so that the map and the flow cannot trade a common displacement. Vertices that are ``fixed`` stay.
    """

    def __init__(
        self,
        mesh: TetMesh,
        latent_dim: int,
        sites: Tensor,
        site_cell: Tensor,
        spacing: float,
        *,
        layers: int = 6,
        width: int = 64,
        unit: float = 10.0,
        start: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(mesh, latent_dim, sites, site_cell, spacing)
        self.unit = unit

        def uniform(*shape: int, bound: float) -> torch.nn.Parameter:
            return torch.nn.Parameter((torch.rand(*shape, generator=generator) * 2.0 - 1.0) * bound)

        inputs = [latent_dim] + [width] * (layers - 1)
        self.weights = torch.nn.ParameterList(uniform(width, n, bound=math.sqrt(6.0 / n)) for n in inputs)
        self.biases = torch.nn.ParameterList(uniform(width, bound=0.5) for _ in inputs)
        self.last = uniform(3 * len(mesh.vertices), width, bound=start / math.sqrt(width))

    def vertex_displacement(self, latents: Tensor) -> Tensor:
        """Displacements ``(b v 3)`` in Å of the vertices for latents ``(b k)``; in memory as ``(b 3 v)``."""
        hidden = torch.cat([self.origin[None], latents])
        for weight, bias in zip(self.weights, self.biases, strict=True):
            hidden = torch.relu(torch.nn.functional.linear(hidden, weight, bias))
        moved = (hidden[1:] - hidden[:1]) @ self.last.T * self.unit
        return moved.view(len(latents), 3, len(self.vertices)).transpose(1, 2) * (~self.fixed[:, None])
