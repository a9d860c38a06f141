"""Which rigid body a voxel goes with, as the images say.

A motion that was learned on a mesh which holds together what slides is bent along the contact, and does not show where
one body ends. So all bodies carry the voxels there, each as rigidly as it moves, and the map of each is solved for: the
density that goes with a body is found in its map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from dynaflex.analyze.domains import carried, kabsch
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.imaging.pose import Pose, project
from dynaflex.kernels import MeshTable
from dynaflex.linear import conjugate_gradients
from dynaflex.reconstruct.equations import Batches
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.operator import Operator
from dynaflex.shapes import Array, Tensor

_REACH = 24.0
"""Å from a body within which voxels are asked whether they go with it: two cells of a mesh, roughly. What is known of
bodies before is right but for that."""
_WINDOW = 6.0
"""Å, the deviation of the Gaussian within which the density of one voxel is judged by that of its neighbours: half a
cell, which is what bends alike."""
_FEWEST = 10
"""Points without which nobody knows how a body moves."""
_ROUNDS = 2
_ITERATIONS = 4
_CORNERS = 400.0 * np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, -1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])
"""Of a tetrahedron in Å. What moves with it as one piece may also lie outside."""


class RigidBodies(Field):
    """The voxels of a map in each of the rigid bodies that they may belong to.

    ``bodies`` ``(m)`` is which body each of the ``points`` ``(m 3)`` in Å belongs to, and ``moved(latents)`` where
    these are ``(b m 3)``. The n values of the field are those of voxel ``site`` ``(n)`` of the map in ``body`` ``(n)``:
    one within reach of two bodies is there twice, one beyond reach of all in the nearest.
    """

    def __init__(
        self, density: CanonicalMap, bodies: Tensor, points: Tensor, moved: Callable[[Tensor], Tensor]
    ) -> None:
        self._points, self._bodies, self._moved = points.double().cpu().numpy(), bodies.cpu().numpy(), moved
        sites = density.sites.double().cpu().numpy()
        of_each = [self._points[self._bodies == body] for body in range(self._bodies.max() + 1)]
        away = np.stack([cKDTree(mine).query(sites)[0] for mine in of_each])
        near = torch.from_numpy((away <= _REACH) | (away == away.min(axis=0)))
        self.body, self.site = near.to(density.voxels.device).nonzero().unbind(dim=1)
        super().__init__(Region(density.grid, density.voxels[self.site]))
        corners = torch.from_numpy(np.tile(_CORNERS, (len(near), 1))).to(density.sites)
        cells = torch.arange(len(corners), device=corners.device).view(-1, 4)
        table = MeshTable(corners, cells, density.sites[self.site], self.body, density.grid.pixel_size)
        self.table = table.to(self.region.device)

    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b 4m 2)`` in Å of the corners of a tetrahedron that moves with each of m bodies."""
        assert latents is not None
        frames = self._moved(latents).double().cpu().numpy()
        corners = np.stack([np.concatenate(list(self._carried(frame))) for frame in frames])
        return project(torch.from_numpy(corners).to(latents), pose)

    def _carried(self, frame: Array) -> Iterable[Array]:
        for body in range(self._bodies.max() + 1):
            mine = self._bodies == body
            yield carried(_CORNERS, kabsch(self._points[mine], frame[mine]))


@torch.no_grad()
def told_apart(
    density: CanonicalMap,
    bodies: Tensor,
    points: Tensor,
    moved: Callable[[Tensor], Tensor],
    batches: Batches,
    noise_power: Tensor,
) -> Tensor:
    """Which rigid body each voxel of the ``density`` goes with, ``(n)``; it seems to go with ``bodies`` ``(n)``.

    ``points`` ``(m 3)`` in Å, on voxels, are at ``moved(latents)`` ``(b m 3)``. ``batches()`` are images, of which each
    rank has its share, with their latents and noise of ``noise_power`` ``(s)``. A body that is left with hardly any of
    the points is none, and its voxels go with the others, which are numbered anew.
    """
    x, y, z = density.grid.nearest(points).unbind(dim=1)
    for _ in range(_ROUNDS):
        of_points = density.in_place(bodies, -1)[z, y, x]
        field = RigidBodies(density, of_points, points, moved)
        found = _solved(Operator(field, noise_power), batches)
        power = torch.zeros(int(of_points.max()) + 1, len(bodies), device=bodies.device)
        power.index_put_((field.body, field.site), found.square(), accumulate=True)
        around = torch.stack([_around(density, mine) for mine in power])
        of_points = density.in_place(around.argmax(dim=0), -1)[z, y, x]
        kept = torch.bincount(of_points, minlength=len(around)) >= _FEWEST
        bodies = around[kept].argmax(dim=0)
    return bodies


def _solved(operator: Operator, batches: Batches) -> Tensor:
    """The least-squares map ``(n)`` of all bodies, from few iterations, so that noise stays out."""
    images = operator.back_in_two(batches()).sum(dim=0)
    steps = conjugate_gradients(partial(operator.summed, batches), images, lambda values: values)
    *_, last = islice(steps, _ITERATIONS + 1)
    return last.solution


def _around(density: CanonicalMap, values: Tensor) -> Tensor:
    """The mean of ``values`` ``(n)`` around each voxel."""
    volume = density.in_place(values, 0).double().cpu().numpy()
    mean = gaussian_filter(volume, _WINDOW / density.grid.pixel_size)
    return torch.from_numpy(mean.reshape(-1)).to(values)[density.voxels]
