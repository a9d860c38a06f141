"""Carrying a map along a deformation: what a conformation looks like."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_dilation, label
from scipy.spatial import cKDTree

from dynaflex.deformation.base import Deformation
from dynaflex.grid import Grid
from dynaflex.imaging.spread import spread
from dynaflex.reconstruct.field import FAR, faded
from dynaflex.shapes import Tensor

_LEAST_PART = 0.01
"""What is less of a mask than that, and stands alone, is no part of a molecule."""


class CarriedMap:
    """A map whose voxels can be sent to where they are in any conformation.

    As in training and reconstruction a voxel is a point that keeps its mass: density is conserved, piles up where the
    flow contracts and thins out where it expands. A motion means something near the density it was learned for: it is
    kept up to 15 Å from there and fades to nothing at 30 Å; voxels beyond stay where they are.

    Of the box, ``voxels`` ``(n)`` can move: they rest at ``points`` ``(n 3)`` in Å and have the ``mass`` ``(n)``.
    """

    def __init__(
        self,
        volume: Tensor,
        grid: Grid,
        deformation: Deformation,
        home: Tensor,
        *,
        center: Tensor | None = None,
        within: Tensor | None = None,
        finest: float = 0.0,
    ) -> None:
        """``volume`` ``(d d d)`` is the map at rest on ``grid``, around the point ``center`` ``(3)`` in Å if that is
        not the origin; ``home`` ``(m 3)`` is where the deformation was learned. Of voxels that are not ``within``
        ``(d d d)`` nothing is kept, and of what is carried nothing finer than ``finest`` Å."""
        self.grid, self.finest = grid, finest
        self.center = torch.zeros(3, device=volume.device) if center is None else center.to(volume.device)
        points = grid.points(volume.device) + self.center
        kept = torch.ones(len(points), dtype=torch.bool) if within is None else within.reshape(-1)
        values = torch.where(kept, volume.reshape(-1), 0.0)
        nearest = cKDTree(home.detach().cpu().numpy()).query(points.cpu().numpy(), distance_upper_bound=FAR)[0]
        fade = faded(torch.from_numpy(nearest).float().clamp(max=FAR)).to(volume.device)
        self.voxels = ((fade > 0.0) & kept).nonzero()[:, 0]
        self.points, self._fade = points[self.voxels], fade[self.voxels, None]
        self.mass = values[self.voxels]
        self._moves = deformation.at(self.points)
        values[self.voxels] = 0.0
        self._still = values.view(volume.shape)

    @torch.no_grad()
    def places(self, latents: Tensor) -> Tensor:
        """Where the voxels are in the conformation ``latents`` ``(k)``, ``(n 3)`` in Å."""
        return self.points + self._moves(latents[None])[0] * self._fade

    @torch.no_grad()
    def drawn(self, places: Tensor) -> Tensor:
        """The map ``(d d d)`` with its voxels at ``places`` ``(n 3)`` in Å."""
        return spread(places - self.center, self.mass, self.grid, self.finest) + self._still

    def at(self, latents: Tensor) -> Tensor:
        """The map ``(d d d)`` in the conformation ``latents`` ``(k)``."""
        return self.drawn(self.places(latents))


def carried_mask(mask: Tensor, grid: Grid, deformation: Deformation, home: Tensor, latents: Tensor) -> Tensor:
    """A soft mask ``(d d d)`` in the conformation ``latents`` ``(k)``; all else as for :class:`CarriedMap`.

    A mask is no density: where the flow contracts it does not pile up. Each voxel takes the value of that which comes
    nearest to it, and none where none comes within two.
    """
    rim = torch.from_numpy(binary_dilation((mask > 0.0).cpu().numpy(), iterations=2)).to(mask.device)
    carried = CarriedMap(mask, grid, deformation, home, within=rim)
    places = grid.points(mask.device)
    places[carried.voxels] = carried.places(latents)
    tree = cKDTree(places[rim.reshape(-1)].cpu().numpy())
    reach = 2.0 * grid.pixel_size
    _, nearest = tree.query(grid.points().numpy(), distance_upper_bound=reach)
    values = torch.cat([mask[rim], mask.new_zeros(1)])[torch.from_numpy(nearest).to(mask.device)].view(mask.shape)
    # Where it was not learned, at the rim, a motion may tear crumbs off.
    part, _ = label((values > 0.0).cpu().numpy())
    large = np.bincount(part.ravel()) >= _LEAST_PART * np.count_nonzero(part)
    return torch.where(torch.from_numpy(large[part]).to(mask.device), values, 0.0)
