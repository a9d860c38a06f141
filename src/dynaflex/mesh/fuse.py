"""Meshes of several segments: cut apart where neighbours may slide, fused where the density really continues."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import torch
from scipy.spatial import cKDTree

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.mesh.segments import Contact, Pair, connected_groups, format_connections, suggest_connections
from dynaflex.mesh.tetmesh import TetMesh, without_unused_vertices
from dynaflex.mesh.voxels import cells_touching
from dynaflex.shapes import Tensor

# Two vertices are a hinge and one is a ball joint: with fewer than three, a part turns against the other for nothing.
_STIFF_JOINT = 3


@dataclass(frozen=True)
class SegmentedMesh:
    """A mesh of segments, and what a user should know about it."""

    mesh: TetMesh
    warnings: tuple[str, ...]


def segmented_mesh(
    base: TetMesh,
    labels: Tensor,
    grid: Grid,
    connections: list[Pair],
    touching: list[Contact],
    *,
    separate: bool = False,
) -> SegmentedMesh:
    """Give every segment of ``labels`` ``(d d d)`` the cells of ``base`` that it touches, and fuse along connections.

    Each segment gets vertices of its own, so that segments move freely through each other. The vertices of a connected
    pair become one where they lie no farther from a voxel contact of the two (``touching``, of :func:`contacts`) than
    the cells there are long. Two segments that are not connected never share a vertex, even where both meet a third:
    there a vertex is fused across the nearer contact.

    ``separate`` allows parts that hang together with nothing.

    Raises:
        InputError: a segment that does not exist, a connection of segments that do not touch, or segments that no
            connection joins to the rest.
    """
    segments = torch.unique(labels[labels >= 0]).tolist()
    _check_connections(segments, connections, touching, separate)
    apart, copies = _cut(base, labels, grid, segments)
    target = torch.arange(len(apart.vertices))
    contested: dict[Pair, int] = defaultdict(int)
    connected = set(connections)
    groups: dict[tuple[int, int], set[int]] = {}
    for _, vertex, *pair in sorted(_meeting_points(base, copies, connections, touching)):
        first, second = (groups.setdefault((vertex, segment), {segment}) for segment in pair)
        if first is second:
            continue
        strangers = {_ordered(one, other) for one in first for other in second} - connected
        for stranger in strangers:
            contested[stranger] += 1
        if not strangers:
            first |= second
            for segment in second:
                groups[vertex, segment] = first
            members = [int(copies[segment][vertex]) for segment in first]
            target[members] = min(members)
    mesh = without_unused_vertices(replace(apart, cells=target.to(apart.cells.device)[apart.cells]))
    shared = {pair: shared_vertices(mesh, pair) for pair in connections}
    return SegmentedMesh(mesh, (*_joint_warnings(shared), *_stranger_warnings(contested)))


def shared_vertices(mesh: TetMesh, pair: Pair) -> int:
    """How many vertices two segments have in common."""
    first, second = (torch.unique(mesh.cells[mesh.segment == segment]) for segment in pair)
    return int(torch.isin(first, second).sum())


def _cut(base: TetMesh, labels: Tensor, grid: Grid, segments: list[int]) -> tuple[TetMesh, dict[int, Tensor]]:
    """A mesh of submeshes that share nothing, and where each has its copy of a base vertex ``(v)``, or -1."""
    vertices, cells, weights, segment, fixed = [], [], [], [], []
    copies: dict[int, Tensor] = {}
    total = 0
    for name in segments:
        own = cells_touching(base, labels == name, grid)
        used, local = torch.unique(base.cells[own], return_inverse=True)
        copies[name] = torch.full((len(base.vertices),), -1)
        copies[name][used.cpu()] = torch.arange(total, total + len(used))
        vertices.append(base.vertices[used])
        fixed.append(base.fixed[used])
        cells.append(local + total)
        weights.append(base.weights[own])
        segment.append(torch.full_like(base.segment[own], name))
        total += len(used)
    parts = (torch.cat(part) for part in (vertices, cells, weights, segment, fixed))
    return TetMesh(*parts), copies


def _meeting_points(
    base: TetMesh, copies: dict[int, Tensor], connections: list[Pair], touching: list[Contact]
) -> list[tuple[float, int, int, int]]:
    """(distance, base vertex, segment, segment): vertices in both submeshes of a connected pair, near its contact."""
    positions = base.vertices.cpu().double()
    reach = _longest_edge_at(base).cpu()
    where = {contact.pair: contact.faces for contact in touching}
    found = []
    for first, second in connections:
        both = ((copies[first] >= 0) & (copies[second] >= 0)).nonzero()[:, 0]
        distance, _ = cKDTree(where[first, second].cpu().numpy()).query(positions[both].numpy())
        near = torch.from_numpy(distance) <= reach[both]
        found += [
            (length, vertex, first, second)
            for length, vertex in zip(distance[near.numpy()].tolist(), both[near].tolist(), strict=True)
        ]
    return found


def _longest_edge_at(mesh: TetMesh) -> Tensor:
    """The length of the longest edge at every vertex in Å, ``(v)``."""
    edges = mesh.edges()
    length = (mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]]).double().norm(dim=1)
    longest = torch.zeros(len(mesh.vertices), dtype=torch.float64, device=length.device)
    return longest.scatter_reduce(0, edges.reshape(-1), length.repeat_interleave(2), "amax")


def _ordered(first: int, second: int) -> Pair:
    return (first, second) if first < second else (second, first)


def _check_connections(segments: list[int], connections: list[Pair], touching: list[Contact], separate: bool) -> None:
    known = ", ".join(map(str, segments))
    meeting = {contact.pair for contact in touching}
    for pair in connections:
        for segment in pair:
            if segment not in segments:
                raise InputError(
                    "fuse.no-such-segment",
                    f"segment {segment} cannot be fused: it does not exist",
                    expected=f"one of {known}",
                    found=segment,
                    fix="--fuse with pairs of these",
                )
        if pair not in meeting:
            partners = sorted({other for met in meeting if pair[1] in met for other in met} - {pair[1]})
            raise InputError(
                "fuse.no-contact",
                f"segments {pair[0]} and {pair[1]} cannot be fused: they do not touch",
                expected=f"for {pair[1]}, one of {', '.join(map(str, partners))}" if partners else None,
                fix="leave this pair out, or join it by way of others",
            )
    groups = connected_groups(segments, connections)
    if len(groups) > 1 and not separate:
        listed = " | ".join(", ".join(map(str, sorted(group))) for group in sorted(groups, key=min))
        suggestion = format_connections(suggest_connections(touching))
        raise InputError(
            "fuse.unconnected",
            "the connections leave segments apart, which could drift away from each other",
            expected="connections that join all segments",
            found=listed,
            fix=f'--fuse "{suggestion}" follows the strongest contacts; --separate allows parts that are not joined',
        )


def _joint_warnings(shared: dict[Pair, int]) -> list[str]:
    return [
        f"segments {first} and {second} share only {count} vertices: "
        + ("nothing holds them together" if count == 0 else "one turns freely against the other")
        for (first, second), count in shared.items()
        if count < _STIFF_JOINT
    ]


def _stranger_warnings(contested: dict[Pair, int]) -> list[str]:
    return [
        f"segments {first} and {second} are not connected, but meet the same neighbour at {count} vertices: "
        "each vertex was fused across the nearer contact only, so that they stay apart"
        for (first, second), count in sorted(contested.items())
    ]
