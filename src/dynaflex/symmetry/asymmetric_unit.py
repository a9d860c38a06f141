"""The asymmetric unit of a symmetric map: what of it moves, where everything else keeps still.

A unit is a weight for every voxel that adds up to 1 with all its turned copies. So the unit of a map, and that turned
by every operation of the group, make a whole map again.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from dynaflex import fourier
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.rotations import even_directions
from dynaflex.shapes import Tensor

SYMMETRIC, HARDLY_SYMMETRIC = 0.8, 0.95
"""Of the map with itself, turned. Five degrees off the axis leave 0.9, a pixel of 4 Å leaves 0.7, and so does a group
that the map has only half of."""
_DIRECTIONS = 600
_THIN = 5.0
"""Å from a cut within which density counts as cut through."""
_VOXELS = 4000
_SHORTEST = 0.05
"""How far a direction must be from where the group puts it, on the unit sphere, to tell the units apart."""
_OUTSIDE = 1e-2
"""The weight of what lies outside the masks of all units, against the masks."""
OF_UNIT = 0.5
"""The weight above which a place is the unit's that moves, where it has to be one or the other."""
_ASSEMBLY = 0.8
"""The part of a mask that is left where it overlaps with its copies, above which it is around all units."""


def turned(volume: Tensor, rotation: Tensor) -> Tensor:
    """The map ``(d d d)`` that has at x what ``volume`` has at ``rotation`` ``(3 3)`` x; trilinear, 0 beyond."""
    grid = Grid(volume.shape[-1], 1.0)
    where = grid.points(volume.device) @ rotation.T.to(volume.device, torch.float32)
    scaled = (where + grid.center) * (2.0 / (grid.box - 1)) - 1.0
    read = torch.nn.functional.grid_sample(
        volume[None, None].float(), scaled.view(1, grid.box, grid.box, grid.box, 3), align_corners=True
    )
    return read[0, 0]


def self_correlation(volume: Tensor, grid: Grid, group: Tensor, resolution: float) -> float:
    """How like itself a map ``(d d d)`` is, turned by the rotations of a point group ``(g 3 3)``: the smallest of them.

    The FSC, a mean over the shells up to ``resolution`` Å, each of which counts the same: the shape of a blob is in the
    first few, its symmetry in the others.
    """
    coarse = grid.cropped(min(grid.box, 2 * math.ceil(1.5 * grid.width / resolution)))
    small = fourier.resize(fourier.low_pass(volume, grid, resolution), coarse.box, 3)
    # What a rotation brings in from beyond the box would not be there before.
    small = small * (coarse.radius_of_points() <= coarse.center * coarse.pixel_size).view(small.shape)
    last = max(2, int(grid.width / resolution))
    first = fourier.transform(small, 3)
    found = []
    for rotation in group[1:]:
        other = fourier.transform(turned(small, rotation), 3)
        product = fourier.shell_mean((first * other.conj()).real, coarse, 3)
        power = fourier.shell_mean(first.abs().square(), coarse, 3) * fourier.shell_mean(
            other.abs().square(), coarse, 3
        )
        found.append(float((product / power.clamp(min=1e-30).sqrt())[1 : last + 1].mean()))
    return min(found, default=1.0)


def require_symmetric(path: Path, volume: Tensor, grid: Grid, group: Tensor, name: str, resolution: float) -> list[str]:
    """Refuse a map ``(d d d)`` that is not itself when it is turned by the ``group`` called ``name``; warn of one that
    hardly is.

    Raises:
        InputError: it is not.
    """
    found = self_correlation(volume, grid, group, resolution)
    told = f"a correlation of {found:.2f} to {resolution:g} Å"
    if found < SYMMETRIC:
        raise InputError(
            "symmetry.map", f"this map has no {name} symmetry about the axes through the centre of its box",
            file=path, expected=f"at least {SYMMETRIC} with itself, turned by each operation, as a mean of the FSC",
            found=told, fix="give the symmetry of the refinement; relion_align_symmetry puts a map on RELION's axes, "
            "and particles must be refined against that",
        )  # fmt: skip
    return [f"the map is only roughly {name}: turned, it has {told} with itself"] if found < HARDLY_SYMMETRIC else []


def is_assembly(mask: Tensor, group: Tensor) -> bool:
    """Whether a mask ``(d d d)`` is around all units, and not around one: then it is nearly the same when turned."""
    kept = [torch.minimum(mask, turned(mask, rotation)).sum() / mask.sum() for rotation in group[1:]]
    return float(torch.stack(kept).mean()) > _ASSEMBLY


def whole_of(mask: Tensor, group: Tensor) -> Tensor:
    """The mask of all units ``(d d d)``, made from that of one."""
    return torch.stack([turned(mask, rotation) for rotation in group]).amax(dim=0)


def unit_within(mask: Tensor, grid: Grid, group: Tensor) -> Tensor:
    """The unit ``(d d d)`` that the mask of one unit means; outside all of them, what lies in its direction."""
    rest = unit_towards(_centroid(mask, grid), grid, group)
    total = torch.stack([turned(mask, rotation) for rotation in group]).sum(dim=0)
    return (mask + _OUTSIDE * rest) / (total + _OUTSIDE)


def unit_towards(direction: Tensor, grid: Grid, group: Tensor) -> Tensor:
    """The unit ``(d d d)`` around a ``direction`` ``(3)``: what is nearer to it than to where the group puts it.

    Cuts are planes through the origin, and two voxels wide.
    """
    directions = _orbit(direction, group)
    height = grid.points(dtype=torch.float64) @ directions.T
    apart = (directions[1:] - directions[0]).norm(dim=1).min()
    weight = torch.softmax(height / (0.5 * grid.pixel_size * apart), dim=1)[:, 0]
    return weight.float().view((grid.box,) * 3)


def direction_of_least_cut(density: Tensor, grid: Grid, group: Tensor) -> tuple[Tensor, float]:
    """The direction ``(3)`` whose unit cuts through least of a ``density`` ``(d d d)``, and what part of it is cut.

    What lies within 5 Å of a cut is cut.
    """
    weights = density.flatten().clamp(min=0.0).double()
    inside = (weights > 0.0).nonzero()[:, 0]
    inside = inside[:: max(1, len(inside) // _VOXELS)]
    points, weights = grid.points(dtype=torch.float64)[inside], weights[inside]
    best, least = torch.from_numpy(even_directions(1))[0], math.inf
    for direction in torch.from_numpy(even_directions(_DIRECTIONS)):
        directions = _orbit(direction, group)
        apart = (directions[1:] - directions[0]).norm(dim=1).min()
        if float(apart) < _SHORTEST:
            continue
        highest = (points @ directions.T).topk(min(2, len(group)), dim=1)
        between = (directions[highest.indices[:, 0]] - directions[highest.indices[:, 1]]).norm(dim=1)
        distance = (highest.values[:, 0] - highest.values[:, 1]) / between.clamp(min=1e-9)
        cut = float((weights * torch.exp(-0.5 * (distance / _THIN).square())).sum() / weights.sum())
        if cut < least:
            best, least = direction, cut
    return best, least


def _orbit(direction: Tensor, group: Tensor) -> Tensor:
    """Where the group puts a direction, ``(g 3)``, itself first."""
    return group.double() @ (direction.double() / direction.double().norm())


def _centroid(mask: Tensor, grid: Grid) -> Tensor:
    return (grid.points(dtype=torch.float64) * mask.flatten()[:, None].double()).sum(dim=0) / mask.double().sum()
