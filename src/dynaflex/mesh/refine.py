"""Smaller cells where a region asks for them: bisection of longest edges, without hanging vertices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cells_touching
from dynaflex.shapes import Tensor

_PAIRS = torch.combinations(torch.arange(4))
# Lengths closer than this fraction are equal: a lattice has many, and rounding must not choose between them.
_SAME_LENGTH = 1e-3


def refine(mesh: TetMesh, where: Tensor, grid: Grid, edge: float | None = None) -> TetMesh:
    """The mesh with smaller cells where it touches ``where`` ``(d d d)`` bool: no edge longer than ``edge`` Å.

    By default edges become half as long as the longest there was. A cell is cut in two at its longest edge. Neighbours
    that share a cut edge are cut too, so that no vertex lies on the side of an undivided cell; the region of small
    cells fades out over a few of them. Parts of a cell keep its weight and segment, and a vertex between two fixed
    ones is fixed.

    Raises:
        InputError: no cell touches the region.
    """
    touching = cells_touching(mesh, where, grid)
    if not bool(touching.any()):
        raise InputError(
            "mesh.refine-outside",
            "the region of smaller cells does not touch the mesh",
            expected="a part of the molecule",
            fix="make the region from the map that the mesh is for",
        )
    target = 0.5 * float(_longest_edges(mesh)[touching].max()) if edge is None else edge
    while bool((large := touching & (_longest_edges(mesh) > target * (1.0 + _SAME_LENGTH))).any()):
        mesh = _bisect(mesh, large)
        touching = cells_touching(mesh, where, grid)
    return mesh


def _longest_edges(mesh: TetMesh) -> Tensor:
    corners = mesh.vertices.double()[mesh.cells]
    return torch.cdist(corners, corners).amax(dim=(1, 2))


def _bisect(mesh: TetMesh, marked: Tensor) -> TetMesh:
    """Cut the cells ``marked`` ``(t)`` at their longest edges, and what must be cut with them."""
    pairs = mesh.cells[:, _PAIRS].sort(dim=2).values
    edges, edge_of_cell = torch.unique(pairs.reshape(-1, 2), dim=0, return_inverse=True)
    edge_of_cell = edge_of_cell.reshape(-1, 6)
    rank = _ranks(mesh.vertices, edges)
    longest = edge_of_cell.gather(1, rank[edge_of_cell].argmax(dim=1, keepdim=True))[:, 0]
    cut = torch.zeros(len(edges), dtype=torch.bool, device=mesh.cells.device)
    cut[longest[marked]] = True
    while True:
        # A cell that loses another edge loses its longest as well: cells keep their shape however often they are cut.
        wider = cut.clone()
        wider[longest[cut[edge_of_cell].any(dim=1)]] = True
        if torch.equal(wider, cut):
            break
        cut = wider
    cells, parent = _split(mesh.cells, edges[cut], rank[cut], len(mesh.vertices))
    ends = edges[cut]
    between = mesh.vertices.double()[ends].mean(dim=1).to(mesh.vertices.dtype)
    return replace(
        mesh,
        vertices=torch.cat([mesh.vertices, between]),
        cells=cells,
        weights=mesh.weights[parent],
        segment=mesh.segment[parent],
        fixed=torch.cat([mesh.fixed, mesh.fixed[ends].all(dim=1)]),
    )


def _ranks(vertices: Tensor, edges: Tensor) -> Tensor:
    """An order of the edges by length, ``(e)``. Between equals an arbitrary number decides, always the same.

    By number of vertex instead, the equal edges of a lattice would pull each other in, in a chain right through it.
    """
    ends = edges.cpu().numpy()
    corners = vertices.detach().cpu().double().numpy()[ends]
    length = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
    step = np.round(np.log(length) / _SAME_LENGTH)
    arbitrary = (ends[:, 0] * 73_856_093 ^ ends[:, 1] * 19_349_663) % 1_000_003
    order = np.lexsort((ends[:, 1], ends[:, 0], arbitrary, step))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return torch.from_numpy(rank).to(edges.device)


def _split(cells: Tensor, cut: Tensor, rank: Tensor, n_vertices: int) -> tuple[Tensor, Tensor]:
    """Cut cells ``(t 4)`` at the edges ``cut`` ``(e 2)``, those of high ``rank`` ``(e)`` first, and name the parents.

    New vertices are numbered from ``n_vertices`` in the order of ``cut``. On a face, the order of its own edges alone
    decides how it is cut, so both cells at a face cut it in the same way.
    """
    key, order = (cut[:, 0] * n_vertices + cut[:, 1]).sort()
    pairs = _PAIRS.to(cells.device)
    parent = torch.arange(len(cells), device=cells.device)
    done_cells, done_parents = [], []
    while len(cells) > 0 and len(key) > 0:
        ends = cells[:, pairs].sort(dim=2).values
        wanted = ends[..., 0] * n_vertices + ends[..., 1]
        place = torch.searchsorted(key, wanted).clamp(max=len(key) - 1)
        present = (key[place] == wanted) & (ends[..., 1] < n_vertices)
        edge = order[place]
        first, which = torch.where(present, rank[edge], -1).max(dim=1)
        whole = first < 0
        done_cells.append(cells[whole])
        done_parents.append(parent[whole])
        cells, parent, which = cells[~whole], parent[~whole], which[~whole]
        middle = n_vertices + edge[~whole].gather(1, which[:, None])
        halves = [cells.scatter(1, pairs[which, end][:, None], middle) for end in (0, 1)]
        cells, parent = torch.cat(halves), torch.cat([parent, parent])
    done_cells.append(cells)
    done_parents.append(parent)
    return torch.cat(done_cells), torch.cat(done_parents)
