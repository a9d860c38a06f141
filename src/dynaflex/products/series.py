"""Series of conformations of one half: where they lead, what moves in them as a body, and the maps of them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from dynaflex import tell
from dynaflex.analyze.axes import PrincipalAxes, principal_axes
from dynaflex.analyze.domains import RigidMotion, relative_to, rigid_domains, rigid_motion
from dynaflex.analyze.trajectory import dense_path
from dynaflex.data.placed import read_segments
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io import durable
from dynaflex.prepare.mesh_store import load_mesh
from dynaflex.prepare.place import frame_of
from dynaflex.products.space import ConformationSpace
from dynaflex.results.trained import TrainedHalf
from dynaflex.results.volumes import write_maps
from dynaflex.run.directory import Run
from dynaflex.run.files import MESH
from dynaflex.shapes import Array, IntArray

SPREAD = 2.0
MAP_FRAME = "map"
_MAIN = 0.1
_MOST = 3
_POINTS = 2000


@dataclass(frozen=True)
class Series:
    """Conformations ``latents`` ``(f k)`` of the model of one half, in order; ``name`` is that of their folder."""

    name: str
    title: str
    latents: Array


@dataclass(frozen=True)
class DomainMotion:
    """How a ``domain`` (from 1) of so many ``points`` moves from the first to the last conformation of a series.

    ``frame`` is ``map``, or the domain that is held still to watch this one.
    """

    series: str
    domain: int
    points: int
    frame: str
    motion: RigidMotion


@dataclass(frozen=True)
class Domains:
    """Points ``(n 3)`` in Å of the molecule, the ``label`` ``(n)`` of each, from 1, 0 for none, and the ``origin`` of
    these labels in words. ``moved`` has the points' places ``(f n 3)`` by the name of the series."""

    points: Array
    label: IntArray
    origin: str
    moved: dict[str, Array]


def main_series(space: ConformationSpace, half: int, frames: int) -> list[Series]:
    """A straight line along each main axis of the latents of a half, and a path through where its particles are dense.

    An axis is main if it has a tenth of the variance, three at most; the first always is. A line goes from -2 to +2
    standard deviations around the mean.
    """
    axes, mine = space.latent_axes[half], space.half == half
    main = [axis for axis in range(min(_MOST, len(axes.share))) if axis == 0 or axes.share[axis] >= _MAIN]
    lines = [Series(f"axis{axis + 1}", f"component {axis + 1}", _line(axes, axis, frames)) for axis in main]
    path = dense_path(space.latents[mine], space.pca[mine, 0], frames)
    return [*lines, Series("dense", "path through dense regions", path)]


def first_component(trained: TrainedHalf, frames: int) -> Series:
    """The straight line of :func:`main_series` along the first principal axis of the latents of one half."""
    return Series("axis1", "component 1", _line(principal_axes(trained.latents.mean.numpy(), 1), 0, frames))


def _line(axes: PrincipalAxes, axis: int, frames: int) -> Array:
    steps = np.linspace(-SPREAD, SPREAD, frames)[:, None]
    return np.asarray(axes.mean + steps * np.sqrt(axes.variance[axis]) * axes.axes[axis])


def write_series(run: Run, trained: TrainedHalf, series: Series, out: Path) -> list[str]:
    """The latents as ``path.npy`` and the maps ``vol_000.mrc ...`` on one grey scale, into a folder; returns the names
    of these."""
    out.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    np.save(content, series.latents.astype(np.float32), allow_pickle=False)
    durable.write_bytes(out / "path.npy", content.getvalue())
    conformations = [(trained, z) for z in torch.from_numpy(series.latents)]
    return write_maps(run, conformations, out, title=f"maps in {series.name}")


def find_domains(run: Run, trained: TrainedHalf, series: list[Series], segments: Path | None) -> Domains:
    """The parts of the molecule that move as bodies: those of ``segments``, else of the run's mesh, else found.

    ``segments`` is a map with a whole number in each voxel, negative in solvent (or 0 where nothing is).

    Raises:
        InputError: the segments cannot be read, or hold none of the molecule.
    """
    where = trained.some_landmarks(_POINTS)
    points = where.double().numpy()
    moved = {one.name: points + displaced(trained, one, points) for one in series}
    given = None if segments is None else _labels_of_map(run, segments, points)
    if given is not None:
        return Domains(points, given, f"the segments in {segments}", moved)
    cut = _labels_of_mesh(run, points)
    if cut is not None:
        return Domains(points, cut, "the segments of the mesh", moved)
    found = 1 + rigid_domains(points, np.concatenate(list(moved.values())))
    return Domains(points, found, "found: parts that move as rigid bodies", moved)


def displaced(trained: TrainedHalf, series: Series, points: Array) -> Array:
    """Displacements ``(f n 3)`` in Å of points ``(n 3)`` in the conformations of a series."""
    latents, where = (torch.from_numpy(values.astype(np.float32)) for values in (series.latents, points))
    return trained.displacements(latents, where).double().numpy()


def motion_table(domains: Domains) -> list[DomainMotion]:
    """How each domain moves from the first to the last conformation of each series, as seen in the map, and as seen
    from the largest domain."""
    table = []
    names = [int(name) for name in np.unique(domains.label[domains.label > 0])]
    largest = max(names, key=lambda name: int((domains.label == name).sum()))
    for series, moved in domains.moved.items():
        ends = {name: (moved[0][domains.label == name], moved[-1][domains.label == name]) for name in names}
        still = rigid_motion(*ends[largest])
        for name, (start, end) in ends.items():
            table.append(DomainMotion(series, name, len(start), MAP_FRAME, rigid_motion(start, end)))
            if name != largest:
                seen = rigid_motion(start, relative_to(still, end))
                table.append(DomainMotion(series, name, len(start), f"domain {largest}", seen))
    return table


def _labels_of_map(run: Run, path: Path, points: Array) -> IntArray:
    warnings: list[str] = []
    frame = frame_of(run)
    labels = read_segments(path, frame, warnings)
    for warning in warnings:
        tell.warn(warning)
    return _renumbered(_at(labels, points, frame.grid), path)


def _labels_of_mesh(run: Run, points: Array) -> IntArray | None:
    """The segments of the mesh that carried the density; None where it has none."""
    if not run.files.has(MESH):
        return None
    path = run.verified(MESH)
    mesh = load_mesh(path)
    if mesh.labels is None or mesh.grid is None or int(mesh.labels.max()) < 1:
        return None
    return _renumbered(_at(mesh.labels.numpy(), points, mesh.grid), path)


def _at(labels: IntArray, points: Array, grid: Grid) -> IntArray:
    """The labels ``(d d d)`` of the voxels that points ``(n 3)`` in Å from the box centre lie in, ``(n)``."""
    voxel = np.rint(points / grid.pixel_size).astype(np.int64) + grid.center
    x, y, z = voxel.clip(0, grid.box - 1).T
    return labels[z, y, x].astype(np.int64)


def _renumbered(label: IntArray, path: Path) -> IntArray:
    """Labels from 1 in the order of those given, 0 for points without one; parts of fewer than 4 points are none."""
    names = [name for name in np.unique(label[label >= 0]) if (label == name).sum() >= 4]
    if not names:
        raise InputError(
            "segments.off-map",
            "none of the molecule lies in a segment",
            file=path,
            expected="whole numbers from 0 where the map has density",
            fix="make the segments from the map that the run was started with",
        )
    renumbered = np.zeros(len(label), dtype=np.int64)
    for new, old in enumerate(names, 1):
        renumbered[label == old] = new
    return renumbered
