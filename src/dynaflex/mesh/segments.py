"""The segments of a molecule: which voxels are whose, where segments touch, and which of them are to be joined."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cell_of_voxels
from dynaflex.shapes import Tensor

Pair = tuple[int, int]


@dataclass(frozen=True)
class LabelledMesh:
    """A mesh, and the segment of every voxel of a ``grid``, ``(d d d)`` or -1; None where there is only one segment.

    Cells of different segments may lie over each other: the label tells which of them carries a voxel.
    """

    mesh: TetMesh
    labels: Tensor | None = None
    grid: Grid | None = None

    def labels_on(self, grid: Grid) -> Tensor | None:
        """The labels at the voxels of another grid, ``(d d d)``, as :func:`cell_of_voxels` wants them."""
        if self.labels is None or self.grid is None:
            return None
        return resample_labels(self.labels, self.grid, grid)

    def carrier(self, grid: Grid) -> Tensor:
        """The cell that carries each voxel of a grid, ``(d d d)``, -1 for none."""
        return cell_of_voxels(self.mesh, grid, self.labels_on(grid))


@dataclass(frozen=True)
class Contact:
    """Where two segments meet: the centres of their common voxel faces ``(n 3)`` in Å, and the ``area`` in Å².

    ``strength`` is the area times the mean density on it: domains that merely lie side by side touch in thin solvent.
    """

    pair: Pair
    faces: Tensor
    area: float
    strength: float


def expand_labels(labels: Tensor, mask: Tensor) -> Tensor:
    """Give every voxel of the ``mask`` ``(d d d)`` above 0.5 the segment nearest to it, ``(d d d)`` int64, others -1.

    ``labels`` ``(d d d)`` are integers; negative ones mean no segment.

    Raises:
        InputError: no voxel has a segment, or a segment lies outside the mask.
    """
    named = (labels >= 0).cpu().numpy()
    if not named.any():
        raise InputError(
            "mesh.no-segments",
            "no voxel belongs to a segment",
            expected="integers from 0 up",
            fix="write in each voxel the number of its segment, and -1 where there is none",
        )
    nearest = distance_transform_edt(~named, return_distances=False, return_indices=True)
    z, y, x = torch.from_numpy(nearest).long().to(labels.device)
    expanded = torch.where(mask > 0.5, labels.long()[z, y, x], -1)
    for segment in torch.unique(labels[labels >= 0]).tolist():
        if not bool((expanded == segment).any()):
            raise InputError(
                "mesh.empty-segment",
                f"segment {int(segment)} is empty: it has no voxel inside the mask",
                expected="segments inside the mask",
                fix="give a wider mask, or take the segment out",
            )
    return expanded


def resample_labels(labels: Tensor, grid: Grid, other: Grid) -> Tensor:
    """The labels ``(d d d)`` of ``grid`` at the voxels of ``other``, nearest neighbour; -1 outside the box."""
    index = (other.axis(labels.device, torch.float64) / grid.pixel_size + grid.center + 0.5).floor().long()
    inside = (index >= 0) & (index < grid.box)
    index = index.clamp(0, grid.box - 1)
    picked = labels[index[:, None, None], index[None, :, None], index[None, None, :]]
    known = inside[:, None, None] & inside[None, :, None] & inside[None, None, :]
    return torch.where(known, picked, -1)


def moved_labels(labels: Tensor, grid: Grid, points: Tensor, rest: Tensor, moved: Tensor) -> Tensor:
    """The labels of ``points`` ``(n 3)`` in Å in another conformation, ``(n)``; -1 for what comes from outside the box.

    ``labels`` ``(d d d)`` of a grid are those where ``rest`` ``(m 3)`` is. A point comes from where it would come from
    if it moved like that of the ``moved`` ``(m 3)`` which is nearest to it.
    """
    _, nearest = cKDTree(moved.cpu().numpy()).query(points.cpu().numpy())
    near = torch.from_numpy(nearest).to(points.device)
    index = grid.nearest(points - (moved - rest)[near])
    inside = ((index >= 0) & (index < grid.box)).all(dim=1)
    x, y, z = index.clamp(0, grid.box - 1).unbind(dim=1)
    return torch.where(inside, labels.to(points.device)[z, y, x], -1)


def contacts(labels: Tensor, grid: Grid, density: Tensor | None = None) -> list[Contact]:
    """Where the segments of ``labels`` ``(d d d)`` touch each other, the strongest contact first.

    Without a ``density`` ``(d d d)`` every face counts the same, and the strength is the area.
    """
    faces: dict[Pair, list[Tensor]] = defaultdict(list)
    through: dict[Pair, float] = defaultdict(float)
    values = torch.ones_like(labels, dtype=torch.float64) if density is None else density.double().clamp(min=0.0)
    for axis in range(3):
        count = grid.box - 1
        low, high = labels.narrow(axis, 0, count), labels.narrow(axis, 1, count)
        index = ((low != high) & (low >= 0) & (high >= 0)).nonzero()
        pairs = torch.stack([low[tuple(index.T)], high[tuple(index.T)]], dim=1).sort(dim=1).values
        centre = index.double()
        centre[:, axis] += 0.5
        centre = (centre - grid.center).flip(1) * grid.pixel_size
        mean = 0.5 * (values.narrow(axis, 0, count) + values.narrow(axis, 1, count))[tuple(index.T)]
        for first, second in torch.unique(pairs, dim=0).tolist():
            own = (pairs[:, 0] == first) & (pairs[:, 1] == second)
            faces[first, second].append(centre[own])
            through[first, second] += float(mean[own].sum())
    face = grid.pixel_size**2
    found = [
        Contact(pair, torch.cat(parts), face * sum(map(len, parts)), face * through[pair])
        for pair, parts in faces.items()
    ]
    return sorted(found, key=lambda contact: (-contact.strength, contact.pair))


def suggest_connections(touching: Iterable[Contact]) -> list[Pair]:
    """The fewest connections that join all segments, through the strongest contacts (``touching``, in that order)."""
    joined: list[Pair] = []
    for contact in touching:
        groups = connected_groups(contact.pair, joined)
        if not any(set(contact.pair) <= group for group in groups):
            joined.append(contact.pair)
    return joined


def parse_connections(text: str) -> list[Pair]:
    """The pairs of ``"0>1, 0>2"``, each once and in ascending order: which of the two comes first means nothing.

    Raises:
        UsageError: not of this form, or a segment connected with itself.
    """
    pairs: list[Pair] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*>\s*(\d+)\s*", part)
        if match is None:
            raise UsageError(
                "fuse.syntax", "the connections cannot be read", expected="pairs such as 0>1,0>2", found=repr(part)
            )
        first, second = sorted((int(match[1]), int(match[2])))
        if first == second:
            raise UsageError(
                "fuse.self", f"segment {first} cannot be fused with itself", expected="two different segments"
            )
        if (first, second) not in pairs:
            pairs.append((first, second))
    return pairs


def format_connections(pairs: Iterable[Pair]) -> str:
    """The text that :func:`parse_connections` reads."""
    return ",".join(f"{first}>{second}" for first, second in pairs)


def connected_groups(segments: Iterable[int], connections: Iterable[Pair]) -> list[set[int]]:
    """The segments that hang together through connections."""
    groups = [{segment} for segment in segments]
    for pair in connections:
        joined = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in joined] + [set(pair).union(*joined)]
    return groups
