"""Voxels carried by a lattice of tetrahedra whose vertices are asked where a motion sends them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.spatial import cKDTree

from dynaflex.deformation.base import Moves
from dynaflex.grid import Grid
from dynaflex.imaging.batch import halved
from dynaflex.mesh.build import lattice
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.reconstruct.field import FAR, NEAR, Region, faded
from dynaflex.reconstruct.mesh_field import MeshField
from dynaflex.shapes import Tensor

Motion = Callable[[Tensor], Moves]
"""``motion(points)`` is what maps latents ``(b k)`` to the displacements ``(b n 3)`` in Å of points ``(n 3)``."""

COARSEST = 12.0
"""Å along a cube of the first lattice that is tried: half the finest wave of a decoder."""
LOST_AT_NYQUIST = 0.01
"""The part of the amplitude at Nyquist that voxels may lose because they are a little astray."""

_VOXELS, _CONFORMATIONS = 2000, 32
_MOST_VOXELS = 0.95


def motion_field(region: Region, motion: Motion, latents: Tensor, anchors: Tensor) -> MeshField:
    """The voxels of a ``region``, carried by a lattice as fine as a ``motion`` needs it, in the conformations
    ``latents`` ``(p k)``.

    A learned displacement means something only near the ``anchors`` ``(m 3)`` in Å it was learned at: it is kept up to
    15 Å from them and fades to nothing at 30 Å.
    """
    mesh = suitable_lattice(region, motion, latents, anchors)
    left = faded(_away(mesh.vertices, anchors))
    near = (left > 0.0).nonzero()[:, 0]
    moves, fade = motion(mesh.vertices[near].to(region.device)), left[near, None].to(region.device)
    near = near.to(region.device)

    @torch.no_grad()
    def vertex_displacement(latents: Tensor) -> Tensor:
        still = torch.zeros(len(latents), len(mesh.vertices), 3, device=region.device)
        return still.index_copy_(1, near, moves(latents) * fade)

    return MeshField(region, mesh, vertex_displacement)


@torch.no_grad()
def suitable_lattice(region: Region, motion: Motion, latents: Tensor, anchors: Tensor) -> TetMesh:
    """A lattice over a region that is as fine as a motion needs it.

    Inside of a tetrahedron displacements are interpolated linearly, so that an affine motion is exact. What that misses
    of others is measured within 15 Å of the anchors, and cubes of 12 Å are divided by 2, 3, 4 ... along each side until
    it is no more than is :func:`tolerated`, or the next would be narrower than two voxels.
    """
    grid = region.grid
    trusted = region.points.cpu()[_away(region.points, anchors) < NEAR]
    points = trusted[:: max(1, len(trusted) // _VOXELS)]
    some = latents[:: max(1, len(latents) // _CONFORMATIONS)].to(region.device)
    meant = halved(motion(points.to(region.device)), some).cpu()
    inside = region.to_volume(torch.ones(len(region), device=region.device)).cpu() > 0.0
    parts = 1
    while True:
        mesh = lattice(inside, grid, edge=COARSEST / parts)
        cell = mesh.locate(points)
        corners, used = torch.unique(mesh.cells[cell], return_inverse=True)
        at_corners = halved(motion(mesh.vertices[corners].to(region.device)), some).cpu()
        carried = torch.einsum("bnci,nc->bni", at_corners[:, used], mesh.barycentric(points, cell))
        if astray(carried - meant) <= tolerated(grid) or COARSEST / (parts + 1) < 2.0 * grid.pixel_size:
            return mesh
        parts += 1


def tolerated(grid: Grid) -> float:
    """How far voxels may be astray along one axis, in Å rms over the particles.

    A spread of ``e`` blurs the map by ``exp(-2 pi² e² k²)``, which at Nyquist is to be :data:`LOST_AT_NYQUIST` less
    than 1: that is ``e = 0.045`` pixels.
    """
    return math.sqrt(-2.0 * math.log(1.0 - LOST_AT_NYQUIST)) / math.pi * grid.pixel_size


def astray(differences: Tensor) -> float:
    """How far voxels are astray along one axis, in Å rms over the particles: that of all but the worst twentieth of
    the n voxels, from ``differences`` ``(b n 3)`` in Å."""
    return float(differences.square().mean(dim=(0, 2)).sqrt().quantile(_MOST_VOXELS))


def _away(points: Tensor, anchors: Tensor) -> Tensor:
    """The distance ``(n)`` in Å of points ``(n 3)`` from the nearest of the anchors; 30 Å is the most."""
    tree = cKDTree(anchors.detach().cpu().numpy())
    distance, _ = tree.query(points.cpu().numpy(), distance_upper_bound=FAR)
    return torch.from_numpy(distance).float().clamp(max=FAR)
