"""Lattice points carried by tetrahedra, packed so that a vector lane walks through one piece of a tetrahedron.

Inside a tetrahedron the motion is affine, so the four vertices are blended once per *segment*, at most 64 points of one
tetrahedron, and not once per point. Sixteen segments of nearly equal length stand side by side as the lanes of a group.
A point is then a row and a lane, and all that is kept of it are its int8 lattice steps from the middle of its segment.

Memory: 3 bytes per point for the steps, 8 for its slot, and 160 bytes per segment: 14 bytes per point with 50 points to
a tetrahedron, 27 with 10. The plain tables of the torch reference, made when first asked for, take 64 bytes per point.
"""

from __future__ import annotations

import copy
from functools import cached_property

import torch

from dynaflex.kernels.tetrahedra import LANES, inverse_edges, on_device
from dynaflex.shapes import Tensor

_LONGEST = 64
_SPAN = 128
_SEED = 20230511


class MeshTable:
    """Points of a cubic lattice, each inside one tetrahedron, in the two forms that the kernels read.

    ``vertices`` ``(v 3)`` and ``cells`` ``(t 4)`` are the mesh at rest, ``points`` ``(n 3)`` belong to one lattice of
    ``spacing`` Å (any offset), and ``cell`` ``(n)`` says which tetrahedron carries each point. Lengths are in Å; a
    point outside of its tetrahedron is carried by the same affine map. ``nodes`` is v and ``count`` is n.

    Raises ``ValueError`` where a point has no cell, is not on the lattice, or lies in a cell without volume.
    """

    def __init__(self, vertices: Tensor, cells: Tensor, points: Tensor, cell: Tensor, spacing: float) -> None:
        vertices, points = (t.detach().cpu().double() for t in (vertices, points))
        cells, cell = (t.cpu().long() for t in (cells, cell))
        if len(points) != len(cell) or (len(cell) and not 0 <= int(cell.min()) <= int(cell.max()) < len(cells)):
            raise ValueError(f"every point needs one of the {len(cells)} cells")
        self.nodes = len(vertices)
        self.count = len(points)
        steps, offset = _lattice_steps(points, spacing)
        order, segment, rank = _segments(cell, steps)
        lane_of, rows = _lanes(segment)
        self.offsets = torch.cat([rows.new_zeros(1), rows.cumsum(0)])
        lane = lane_of[segment]
        self.slot = torch.empty(self.count, dtype=torch.int64)
        self.slot[order] = (self.offsets[lane // LANES] + rank) * LANES + lane % LANES

        corners = cells[torch.zeros_like(lane_of).index_copy(0, segment, cell[order])]
        middle = _middles(steps[order], segment, len(lane_of))
        self.steps = _packed_steps(steps[order] - middle[segment], self.slot[order], int(self.offsets[-1]))
        self.vertices = _by_lane(corners, lane_of, len(rows)).to(torch.int32)
        self.blend = _by_lane(
            _blend(vertices[corners], middle.double() * spacing + offset, spacing), lane_of, len(rows)
        )

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.slot.device

    @property
    def slots(self) -> int:
        """How many places the packed arrays hold, padding included."""
        return len(self.steps) * LANES

    @cached_property
    def vertex(self) -> Tensor:
        """The vertices of each point's tetrahedron, ``(n 4)`` int64."""
        group, lane = self._group_and_lane()
        return self.vertices[group, :, lane].long()

    @cached_property
    def barycentric(self) -> Tensor:
        """Each point's barycentric coordinates, ``(n 4)`` float64 on the CPU, in the order of :attr:`vertex`."""
        group, lane = self._group_and_lane()
        blend = self.blend[group, :, :, lane]
        local = self.steps[self.slot // LANES, :, lane].to(blend.dtype)
        last = blend[:, :, 3] + torch.einsum("nkc,nc->nk", blend[:, :, :3], local)
        return torch.cat([1.0 - last.sum(dim=1, keepdim=True), last], dim=1)

    @cached_property
    def blend_single(self) -> Tensor:
        """:attr:`blend` as compiled kernels read it."""
        return self.blend.float().contiguous()

    @property
    def packed(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The arrays that compiled kernels read."""
        return self.vertices, self.blend_single, self.steps, self.offsets

    def in_slots(self, weights: Tensor) -> Tensor:
        """Weights ``(n)`` of the points in their slots, and zeros between; differentiable.

        Raises ``ValueError`` where they are not one per point.
        """
        if weights.shape != (self.count,):
            raise ValueError(f"{tuple(weights.shape)} weights do not fit {self.count} points")
        return weights.new_zeros(self.slots).scatter_(0, self.slot, weights)

    def to(self, device: torch.device | str) -> MeshTable:
        """The table on a device; away from the CPU it is float32."""
        if torch.device(device) == self.device:
            return self
        moved = copy.copy(self)
        # Made here and in double precision, and from then on among the attributes.
        _ = self.vertex, self.barycentric
        vars(moved).update(on_device(self, device))
        return moved

    def _group_and_lane(self) -> tuple[Tensor, Tensor]:
        group = torch.searchsorted(self.offsets, self.slot // LANES, right=True) - 1
        return group, self.slot % LANES


def _lattice_steps(points: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
    """Integer steps ``(n 3)`` and the offset ``(3)`` in Å with ``points = steps * spacing + offset``."""
    if not len(points):
        return points.long(), points.new_zeros(3)
    steps = ((points - points[0]) / spacing).round()
    rest = points - steps * spacing
    offset = rest.mean(dim=0)
    if not bool(((rest - offset).abs() < 1e-3 * spacing).all()):
        raise ValueError(f"the points are not on a lattice of spacing {spacing:g} Å")
    return steps.long(), offset


def _segments(cell: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The points sorted by segment: their order, and for each of the sorted its segment and its rank in there.

    A segment stays inside a brick of 128 steps a side, so that int8 holds the steps from its middle.
    """
    cells = int(cell.max()) + 1 if len(cell) else 0
    low = _extreme("amin", steps, cell, cells)
    brick = (steps - low[cell]) // _SPAN
    key = cell
    for axis in range(3):
        key = key * (int(brick[:, axis].max()) + 1 if len(cell) else 1) + brick[:, axis]
    key, order = key.sort(stable=True)
    _, run, lengths = key.unique_consecutive(return_inverse=True, return_counts=True)
    rank = torch.arange(len(key)) - (lengths.cumsum(0) - lengths)[run]
    segment = (rank % _LONGEST == 0).cumsum(0) - 1
    return order, segment, rank % _LONGEST


def _lanes(segment: Tensor) -> tuple[Tensor, Tensor]:
    """Each segment's lane, counted through all groups, and the number of rows of each group.

    Among segments of one length the order is random: neighbouring lanes then write to distant pixels, and no store has
    to wait for the one before it.
    """
    lengths = segment.bincount()
    shuffled = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(_SEED))
    by_length = shuffled[lengths[shuffled].argsort(descending=True, stable=True)]
    lane_of = torch.empty_like(by_length)
    lane_of[by_length] = torch.arange(len(by_length))
    return lane_of, lengths[by_length[::LANES]]


def _extreme(kind: str, values: Tensor, group: Tensor, groups: int) -> Tensor:
    """The smallest (``amin``) or largest (``amax``) of the values ``(n 3)`` of each group, ``(groups 3)``."""
    index = group[:, None].expand_as(values)
    return values.new_zeros(groups, 3).scatter_reduce(0, index, values, kind, include_self=False)


def _middles(steps: Tensor, segment: Tensor, segments: int) -> Tensor:
    return (_extreme("amin", steps, segment, segments) + _extreme("amax", steps, segment, segments)) // 2


def _packed_steps(local: Tensor, slot: Tensor, rows: int) -> Tensor:
    """Steps from the middle of the segment as int8, ``(rows 3 lanes)``."""
    packed = torch.zeros(rows, 3, LANES, dtype=torch.int8)
    packed[slot // LANES, :, slot % LANES] = local.to(torch.int8)
    return packed


def _blend(corners: Tensor, origins: Tensor, spacing: float) -> Tensor:
    """Of the last three barycentric coordinates the gradients per lattice step and the values at ``origins`` ``(s 3)``
    in Å, ``(s 3 4)``, in tetrahedra with ``corners`` ``(s 4 3)``."""
    gradients = inverse_edges(corners)
    values = torch.einsum("skc,sc->sk", gradients, origins - corners[:, 0])
    return torch.cat([gradients * spacing, values[:, :, None]], dim=2)


def _by_lane(values: Tensor, lane_of: Tensor, groups: int) -> Tensor:
    """Values ``(s ...)`` of segments as ``(groups ... lanes)``; a lane without a segment holds zeros."""
    lanes = values.new_zeros(groups * LANES, *values.shape[1:])
    lanes[lane_of] = values
    return lanes.unflatten(0, (groups, LANES)).movedim(1, -1).contiguous()
