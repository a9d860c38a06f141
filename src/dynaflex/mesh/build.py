"""A regular mesh over a mask: cubes of five tetrahedra, weighted by the density they hold."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.mesh.tetmesh import TetMesh, validated, without_unused_vertices
from dynaflex.mesh.voxels import cell_of_voxels, cells_touching
from dynaflex.shapes import Tensor

CELL_EDGE = 10.0
"""Å: about as wide as a helix, of which the inside does not bend."""
_PIXELS_ALONG_AN_EDGE = 2
"""Of the images that motion is learned from: Nyquist's limit. What bends within fewer cannot be seen."""
RIGID_WEIGHT = 20.0
STIFF_WEIGHT = 3.0

# One regular tetrahedron in the middle, four in the corners; (x, y, z) of the cube's corners.
_FIVE = torch.tensor(
    [
        [[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 1]],
        [[0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 1]],
        [[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 1], [0, 1, 1]],
        [[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]],
    ]
)

# Of the density in the densest cells: what is below is noise.
_EMPTY = 0.05


def build_mesh(
    mask: Tensor,
    grid: Grid,
    density: Tensor | None,
    cells: int | None = None,
    minimum_weight: float = 0.5,
    stiffen: bool = False,
    stationary: Tensor | None = None,
    edge: float = CELL_EDGE,
) -> TetMesh:
    """A regular mesh of all tetrahedra that touch the ``mask`` ``(d d d)`` above 0.5, one part, segment 0.

    Its cubes are those of :func:`lattice`. Weights are 1 without a ``density`` ``(d d d)``, and otherwise those
    of :func:`density_weights`; vertices at a ``stationary`` mask ``(d d d)`` are fixed, see :func:`hold`.

    Raises:
        InputError: the mask is empty, or the stationary mask covers everything.
        UsageError: ``cells`` below 1 or above the box.
    """
    inside = mask > 0.5
    mesh = lattice(inside, grid, cells, edge)
    if density is not None:
        carrier = torch.where(inside, cell_of_voxels(mesh, grid), -1)
        mesh = replace(mesh, weights=density_weights(carrier, density, mesh.volumes(), minimum_weight, stiffen))
    return mesh if stationary is None else hold(mesh, stationary, grid)


def cell_edge(pixel_size: float) -> float:
    """Å along a cube of a mesh for motion that is learned from images of this ``pixel_size`` in Å.

    It says nothing of the box: the same molecule has the same mesh, however much solvent surrounds it.
    """
    return max(CELL_EDGE, _PIXELS_ALONG_AN_EDGE * pixel_size)


def lattice(inside: Tensor, grid: Grid, cells: int | None = None, edge: float = CELL_EDGE) -> TetMesh:
    """Cubes, five tetrahedra each, where they touch ``inside`` ``(d d d)`` bool; weights 1.

    ``cells`` of them fill the box, or cubes of ``edge`` Å meet in its origin and stand over. Alternate cubes are
    mirrored, so that neighbours cut their common face along the same diagonal.

    Raises:
        InputError: nothing is inside.
        UsageError: ``cells`` below 1 or above the box.
    """
    if cells is None:
        cells = 2 * math.ceil(0.5 * grid.width / edge)
    elif 1 <= cells <= grid.box:
        edge = grid.width / cells
    else:
        raise UsageError(
            "mesh.cells",
            f"a mesh cannot have {cells} cubes along the box",
            expected=f"1 to {grid.box}",
            fix="leave it out, for cubes of 10 Å",
        )
    if not bool(inside.any()):
        raise InputError(
            "mesh.empty-mask",
            "no voxel of the mask is above 0.5",
            expected="a mask that is 1 inside the molecule",
            fix="make it with a lower threshold",
        )
    cube = _cubes_near(inside, grid, cells, edge)
    odd = (cube - cells // 2).sum(dim=1) % 2 == 1
    mirrored = _FIVE.clone()
    mirrored[..., 0] = 1 - mirrored[..., 0]
    corner = cube[:, None, None, :] + torch.where(odd[:, None, None, None], mirrored, _FIVE).to(cube.device)
    node = (corner[..., 2] * (cells + 1) + corner[..., 1]) * (cells + 1) + corner[..., 0]
    used, index = torch.unique(node.reshape(-1, 4), return_inverse=True)
    steps = torch.stack([used % (cells + 1), used // (cells + 1) % (cells + 1), used // (cells + 1) ** 2], dim=1)
    whole = TetMesh(
        vertices=((steps.double() - 0.5 * cells) * edge).float(),
        cells=index,
        weights=torch.ones(len(index), device=inside.device),
        segment=torch.zeros(len(index), dtype=torch.int64, device=inside.device),
        fixed=torch.zeros(len(used), dtype=torch.bool, device=inside.device),
    )
    return validated(with_cells(whole, cells_touching(whole, inside, grid)))


def _cubes_near(inside: Tensor, grid: Grid, cells: int, edge: float) -> Tensor:
    """Indices (x, y, z) of the cubes that a voxel inside reaches into, ``(n 3)``."""
    axis = grid.axis(inside.device, torch.float64) + 0.5 * cells * edge
    reached = torch.zeros(cells, cells, cells, dtype=torch.bool, device=inside.device)
    z, y, x = inside.nonzero().unbind(dim=1)
    sides = [((axis + side * 0.5 * grid.pixel_size) / edge).floor().long().clamp(0, cells - 1) for side in (-1, 1)]
    for in_z in sides:
        for in_y in sides:
            for in_x in sides:
                reached[in_z[z], in_y[y], in_x[x]] = True
    return reached.nonzero().flip(1)


def with_cells(mesh: TetMesh, kept: Tensor) -> TetMesh:
    """The mesh of the cells ``kept`` ``(t)`` bool alone, and of the vertices they use."""
    part = replace(mesh, cells=mesh.cells[kept], weights=mesh.weights[kept], segment=mesh.segment[kept])
    return without_unused_vertices(part)


def density_weights(
    carrier: Tensor, density: Tensor, volumes: Tensor, minimum: float = 0.5, stiffen: bool = False
) -> Tensor:
    """Stiffness ``(t)`` of a volume of each cell: 1 for the densest, falling to ``minimum`` in empty ones.

    ``carrier`` ``(d d d)`` is the cell of each voxel or -1, ``density`` ``(d d d)`` the map, ``volumes`` ``(t)`` those
    of the cells in Å³. Only positive density counts, averaged over a cell and compared with the 99th percentile of all
    cells. ``stiffen`` gives 3 to cells that hold some density, but less than half of what is usual: what is weak there
    cannot fly about.
    """
    carried = carrier >= 0
    total = torch.zeros(len(volumes), dtype=torch.float64, device=carrier.device)
    total.index_add_(0, carrier[carried], density.to(carrier.device)[carried].double().clamp(min=0.0))
    mean = total / volumes.double()
    fraction = (mean / torch.quantile(mean, 0.99).clamp(min=1e-300)).clamp(max=1.0)
    weights = minimum + (1.0 - minimum) * fraction
    if stiffen:
        occupied = fraction > _EMPTY
        weak = occupied & (fraction < 0.5 * torch.where(occupied, fraction, torch.nan).nanmedian())
        weights = torch.where(weak, STIFF_WEIGHT, weights)
    return weights.float()


def stiff_segments(mesh: TetMesh, rigid: list[int]) -> TetMesh:
    """The mesh with weight 20 in all cells of the segments ``rigid``: each moves nearly as one body.

    Raises:
        InputError: no cell belongs to such a segment.
    """
    weights = mesh.weights.clone()
    for segment in rigid:
        own = mesh.segment == segment
        if not bool(own.any()):
            raise InputError(
                "mesh.no-such-segment",
                f"segment {segment} cannot be rigid: it does not exist",
                expected=", ".join(map(str, torch.unique(mesh.segment).tolist())),
                found=segment,
                fix="--rigid with some of these",
            )
        weights[own] = RIGID_WEIGHT
    return replace(mesh, weights=weights)


def hold(mesh: TetMesh, stationary: Tensor, grid: Grid) -> TetMesh:
    """The mesh with every vertex fixed whose cell touches the ``stationary`` mask ``(d d d)`` above 0.5.

    Raises:
        InputError: the mask touches no cell, or leaves no vertex that can move.
    """
    held = cells_touching(mesh, stationary > 0.5, grid)
    fixed = mesh.fixed.clone()
    fixed[mesh.cells[held].reshape(-1)] = True
    if not bool(held.any()):
        raise InputError(
            "mesh.stationary-outside",
            "the stationary mask does not touch the mesh",
            expected="a region of the molecule that keeps still",
            fix="leave it out, or give a mask of the same box in the same place",
        )
    if bool(fixed.all()):
        raise InputError(
            "mesh.all-stationary",
            "the stationary mask covers everything: no vertex of the mesh can move",
            expected="a region smaller than the molecule",
            found=f"{int(held.sum())} of {len(held)} cells touch it",
            fix="give a smaller mask, or finer cells",
        )
    return replace(mesh, fixed=fixed)
