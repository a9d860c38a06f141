"""One half's model, held in memory so that a conformation is on the screen before the hand has moved on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from dynaflex.deformation.lattice import OnLattice
from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.pipelines.predict import TrainedHalf, config_of, load_half
from dynaflex.pipelines.run import Run
from dynaflex.pipelines.volumes import map_at_rest
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.viewer.window import Molecule, Window

SIZES = {"fine": 96, "coarse": 48}
"""The most voxels a side: at rest, and while the hand moves."""
_SAMPLED, _FEW_POINTS = 48, 512


@dataclass(frozen=True)
class Conformation:
    """Density and displacement in Å, both ``(d d d)`` ``[z, y, x]``, in the ``window``."""

    density: FloatArray
    displacement: FloatArray
    window: Window


class Decoder:
    """A half's map, carried by its model to any latents."""

    def __init__(self, run: Run, half: int) -> None:
        self.trained = load_half(run, half)
        volume, full = map_at_rest(run, self.trained)
        molecule = Molecule.of(volume, full, max(config_of(run).shared_resolution, 4 * full.pixel_size))
        self.level = molecule.level(volume)
        inside = (molecule.weight.flatten() > 0).nonzero()[:, 0]
        few = full.points()[inside[:: max(len(inside) // _FEW_POINTS, 1)]]
        latents = self.trained.latents.mean
        moved = self.trained.displacements(latents[:: max(len(latents) // _SAMPLED, 1)], few)
        corners = torch.stack([full.points()[inside].amin(dim=0), full.points()[inside].amax(dim=0)])
        self.window = Window.around(torch.cat([corners, (few + moved).flatten(0, 1)]), full, SIZES["fine"])
        self.molecule = molecule
        self.side = seen_across(moved, few)
        self.largest = float(moved.norm(dim=2).flatten().kthvalue(max(int(0.99 * moved[..., 0].numel()), 1)).values)
        self.carriers = {
            name: Carrier(volume * molecule.weight, molecule, self.window.coarser(box), self.trained)
            for name, box in SIZES.items()
        }
        self._lock = threading.Lock()

    def conformation(self, latents: FloatArray, size: str) -> Conformation:
        """The map in the conformation ``latents`` ``(k)``, on the ``fine`` or the ``coarse`` grid."""
        with self._lock:
            return self.carriers[size].carried(torch.from_numpy(np.asarray(latents, dtype=np.float32)))


class Carrier:
    """The voxels of the molecule in a window, and all that can be known about them before the latents are.

    Every voxel moves by a mean of ``corners`` ``(n c)`` with ``weights`` ``(n c)``: nodes of the lattice around it, or
    vertices of the mesh that carries it.
    """

    def __init__(self, density: Tensor, molecule: Molecule, window: Window, trained: TrainedHalf) -> None:
        self.window = window
        inside = window.sampled(molecule.weight.numpy()).reshape(-1) > 0
        voxels = torch.from_numpy(np.flatnonzero(inside))
        self.values = window.cut(density).reshape(-1)[voxels]
        self.points = window.points()[voxels]
        self.at_corners, self.corners, self.weights = _stencil(trained, self.points, 2 * window.grid.pixel_size)

    @torch.no_grad()
    def moves(self, latents: Tensor) -> Tensor:
        """The displacements ``(n 3)`` in Å of the voxels at ``points`` in the conformation ``latents`` ``(k)``."""
        at_corners = self.at_corners(latents[None])
        return torch.nn.functional.embedding_bag(self.corners, at_corners, per_sample_weights=self.weights, mode="sum")

    def carried(self, latents: Tensor) -> Conformation:
        """Each voxel spread linearly over the eight around its destination, as in :func:`convect`."""
        grid = self.window.grid
        moves = self.moves(latents)
        position = (self.points + moves - self.window.center) / grid.pixel_size + grid.center
        corner = position.floor()
        kept = ((corner >= 0) & (corner < grid.box - 1)).all(dim=1)
        corner, fraction = corner[kept].long(), (position - corner)[kept]
        content = torch.stack([torch.ones_like(self.values), self.values, moves.norm(dim=1)], dim=1)[kept]
        start = (corner[:, 2] * grid.box + corner[:, 1]) * grid.box + corner[:, 0]
        sides = torch.stack([1.0 - fraction, fraction], dim=1)
        arrived = content.new_zeros(grid.box**3, 3)
        for offset in range(8):
            x, y, z = offset & 1, offset >> 1 & 1, offset >> 2
            share = sides[:, x, 0] * sides[:, y, 1] * sides[:, z, 2]
            arrived.index_add_(0, start + (z * grid.box + y) * grid.box + x, content * share[:, None])
        share, values = arrived[:, :1], arrived[:, 1:]
        means = torch.where(share > 1e-3, values / share.clamp(min=1e-3), 0.0)
        volumes = means.T.reshape(2, grid.box, grid.box, grid.box).numpy()
        return Conformation(volumes[0], volumes[1], self.window)


def seen_across(moved: Tensor, points: Tensor) -> list[float]:
    """The rows right, up and towards the eye of a camera across the motion ``(f n 3)`` of ``points`` ``(n 3)``.

    It looks along the thinnest direction that does not hide the main motion; up is the longest that is left.
    """
    motion = (moved - moved.mean(dim=0)).flatten(0, 1).double()
    main = torch.linalg.eigh(motion.T @ motion)[1][:, -1]
    shape = torch.cov(points.double().T)
    across = torch.eye(3, dtype=torch.float64) - torch.outer(main, main)
    # Directions along the motion are made the longest of all, so that the thinnest lies across it.
    thinnest = across @ shape @ across + torch.outer(main, main) * (1.0 + shape.trace())
    eye = torch.linalg.eigh(thinnest)[1][:, 0]
    upright = torch.eye(3, dtype=torch.float64) - torch.outer(eye, eye)
    up = torch.linalg.eigh(upright @ shape @ upright)[1][:, -1]
    return [float(value) for value in torch.stack([torch.linalg.cross(up, eye), up, eye]).flatten()]


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
