"""A picture of a mesh: sections through its middle by segment and by rigidity, and its surface in space."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from dynaflex.grid import Grid
from dynaflex.io.durable import write_stream
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.palettes import RIGID
from dynaflex.report.drawing import style
from dynaflex.report.drawing.style import INK, WIDTH, bare, drawn, scale_bar
from dynaflex.shapes import Array, IntArray, Tensor

# Colour-blind readers can tell them apart; dark enough for a white page and light enough for a black one.
_SEGMENTS = ("#2f7fc1", "#d07b1f", "#3f9d6b", "#b8559a", "#7a68c9", "#b59b1d", "#4fb0b8", "#c8502d")
_WEIGHTS = LinearSegmentedColormap.from_list("weight", ["#dfe6ec", "#86aed4", "#2b5c93", "#12294a"])
_PLANES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
_EDGES = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
_FACES = np.array([(1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1)])
# How far segments are drawn apart in space, as a part of their distance from the middle.
_EXPLODED = 0.25


def write_mesh_picture(path: Path | str, labelled: LabelledMesh, grid: Grid, density: Tensor) -> None:
    """Write the picture of :func:`draw_mesh` as PNG.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    with matplotlib.rc_context(style._RC):
        figure = _build(labelled, grid, density)
        FigureCanvasAgg(figure)
        write_stream(path, lambda stream: figure.savefig(stream, format="png", dpi=150, facecolor="white"))


@drawn
def draw_mesh(labelled: LabelledMesh, grid: Grid, density: Tensor) -> Figure:
    """A mesh over a map ``(d d d)``: three sections by segment, the surface, and a section by rigidity, if cells
    differ in it."""
    return _build(labelled, grid, density)


def _build(labelled: LabelledMesh, grid: Grid, density: Tensor) -> Figure:
    mesh = labelled.mesh
    corners = mesh.vertices.double().cpu().numpy()[mesh.cells.cpu().numpy()]
    segment, weights = mesh.segment.cpu().numpy(), mesh.weights.double().cpu().numpy()
    held = mesh.fixed.cpu().numpy()[mesh.cells.cpu().numpy()].all(axis=1)
    colours = {int(name): _SEGMENTS[i % len(_SEGMENTS)] for i, name in enumerate(np.unique(segment))}
    fills = np.array([to_rgb(colours[int(name)]) for name in segment])
    middle = (corners.max(axis=(0, 1)) + corners.min(axis=(0, 1))) / 2
    reach = 0.6 * float(np.ptp(corners, axis=(0, 1)).max())

    figure = Figure(figsize=(WIDTH, 7.4), layout="constrained")
    layout = figure.add_gridspec(2, 6, height_ratios=(1, 1.45))
    for column, plane in enumerate(_PLANES):
        axes = figure.add_subplot(layout[0, 2 * column : 2 * column + 2])
        _frame(axes, plane, middle, reach)
        if column == 0:
            scale_bar(axes, 2 * reach)
        _draw_density(axes, density, grid, plane, middle)
        cell, polygons = plane_section(corners, plane, middle[plane[2]])
        axes.add_collection(
            PolyCollection(polygons, facecolors=_tinted(fills[cell], 0.2), edgecolors=fills[cell], linewidths=0.55)
        )
        _hatch(axes, [polygon for i, polygon in zip(cell, polygons, strict=True) if held[i]])
    alike = np.ptp(weights) == 0.0
    _draw_surface(figure, layout[1, :] if alike else layout[1, :3], labelled, fills, middle)
    if not alike:
        _draw_weights(figure, layout[1, 3:], corners, weights, middle, reach)
    _name_segments(figure, segment, colours, held)
    return figure


def _frame(axes: Axes, plane: tuple[int, int, int], middle: Array, reach: float) -> None:
    across, up, depth = plane
    axes.set(
        xlim=(middle[across] - reach, middle[across] + reach),
        ylim=(middle[up] - reach, middle[up] + reach),
        aspect="equal",
        title=f"{'xyz'[across]} across, {'xyz'[up]} up, at {'xyz'[depth]} = {middle[depth]:.0f} Å",
    )
    bare(axes)


def _draw_density(axes: Axes, density: Tensor, grid: Grid, plane: tuple[int, int, int], middle: Array) -> None:
    """The map in the plane as grey ink, thick where it is dense, to be seen on white and on black."""
    volume = density.double().cpu().numpy()
    index = int(np.clip(round(middle[plane[2]] / grid.pixel_size) + grid.center, 0, grid.box - 1))
    values = np.take(volume, index, axis=2 - plane[2])
    ink = np.zeros((*values.shape, 4))
    ink[..., :3] = to_rgb(RIGID)
    ink[..., 3] = 0.9 * np.clip(values / max(float(np.percentile(volume, 99.8)), 1e-12), 0.0, 1.0)
    first = (-grid.center - 0.5) * grid.pixel_size
    last = first + grid.width
    axes.imshow(ink, origin="lower", extent=(first, last, first, last), interpolation="bilinear", zorder=0)


def plane_section(corners: Array, plane: tuple[int, int, int], level: float) -> tuple[IntArray, list[Array]]:
    """Which tetrahedra ``(t 4 3)`` a plane cuts, and the polygons (n 2) in it."""
    across, up, depth = plane
    # A plane through lattice vertices would cut nothing there.
    height = corners[:, :, depth] - level - 1.2345e-4 * np.ptp(corners[:, :, depth])
    cut = np.flatnonzero((height.min(axis=1) < 0) & (height.max(axis=1) > 0))
    ends, heights = corners[cut][:, _EDGES], height[cut][:, _EDGES]
    crossing = heights.min(axis=2) * heights.max(axis=2) < 0
    share = heights[:, :, 0] / np.where(crossing, heights[:, :, 0] - heights[:, :, 1], 1.0)
    points = (ends[:, :, 0] + share[:, :, None] * (ends[:, :, 1] - ends[:, :, 0]))[:, :, [across, up]]
    return cut, [_around(own[chosen]) for own, chosen in zip(points, crossing, strict=True)]


def _around(points: Array) -> Array:
    """The corners of a convex polygon in order."""
    away = points - points.mean(axis=0)
    ordered: Array = points[np.argsort(np.arctan2(away[:, 1], away[:, 0]))]
    return ordered


def _tinted(colours: Array, opacity: float) -> Array:
    return np.concatenate([colours, np.full((len(colours), 1), opacity)], axis=1)


def _hatch(axes: Axes, polygons: list[Array]) -> None:
    axes.add_collection(
        PolyCollection(polygons, facecolors="none", edgecolors=to_rgba(INK, 0.6), hatch="////", linewidths=0)
    )


def _draw_surface(figure: Figure, place: SubplotSpec, labelled: LabelledMesh, fills: Array, middle: Array) -> None:
    """The faces that only one cell has, lit from the upper left, segments drawn apart."""
    mesh = labelled.mesh
    vertices, cells = mesh.vertices.double().cpu().numpy(), mesh.cells.cpu().numpy()
    segment = mesh.segment.cpu().numpy()
    faces = cells[:, _FACES].reshape(-1, 3)
    owner = np.repeat(np.arange(len(cells)), 4)
    keyed = np.column_stack([np.repeat(segment, 4), np.sort(faces, axis=1)])
    _, first, count = np.unique(keyed, axis=0, return_index=True, return_counts=True)
    outer = first[count == 1]
    triangles, owner = vertices[faces[outer]], owner[outer]
    for name in np.unique(segment):
        centre = vertices[np.unique(cells[segment == name])].mean(axis=0)
        triangles[segment[owner] == name] += _EXPLODED * (centre - middle)
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    light = 0.62 + 0.38 * normal @ (np.array([-0.35, -0.75, 0.55]) / np.linalg.norm([-0.35, -0.75, 0.55]))
    axes = figure.add_subplot(place, projection="3d", computed_zorder=False)
    axes.add_collection3d(
        Poly3DCollection(
            triangles,
            facecolors=fills[owner] * light[:, None],
            edgecolors=(1, 1, 1, 0.35),
            linewidths=0.25,
            rasterized=True,
        )
    )
    span = 0.9 * float(np.ptp(triangles, axis=(0, 1)).max()) / 2
    centre = (triangles.max(axis=(0, 1)) + triangles.min(axis=(0, 1))) / 2
    axes.set(
        xlim=(centre[0] - span, centre[0] + span),
        ylim=(centre[1] - span, centre[1] + span),
        zlim=(centre[2] - span, centre[2] + span),
        box_aspect=(1, 1, 1),
        title="surface, segments drawn apart" if len(np.unique(segment)) > 1 else "surface",
    )
    axes.view_init(elev=18, azim=-65)
    axes.set_axis_off()


def _draw_weights(
    figure: Figure, place: SubplotSpec, corners: Array, weights: Array, middle: Array, reach: float
) -> None:
    """The xz section by weight: dark cells resist."""
    axes = figure.add_subplot(place)
    plane = _PLANES[1]
    _frame(axes, plane, middle, reach)
    axes.set_title(f"rigidity weights, x across, z up, at y = {middle[1]:.0f} Å")
    scale_bar(axes, 2 * reach)
    cell, polygons = plane_section(corners, plane, middle[plane[2]])
    low, high = float(weights.min()), float(weights.max())
    shown = PolyCollection(polygons, cmap=_WEIGHTS, edgecolors=to_rgba(INK, 0.35), linewidths=0.3)
    shown.set_array(weights[cell])
    shown.set_norm(LogNorm(max(low, 1e-3), max(high, low * 1.01, 1e-2)))
    axes.add_collection(shown)
    bar = figure.colorbar(shown, ax=axes, shrink=0.75, aspect=24, label="weight")
    bar.outline.set_visible(False)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 0.75, 1.0, 3.0, 20.0) if low * 0.99 <= tick <= high * 1.01]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks], minor=False)
    bar.ax.minorticks_off()


def _name_segments(figure: Figure, segment: IntArray, colours: dict[int, str], held: Array) -> None:
    entries = [
        Patch(color=colour, label=f"segment {name}: {int((segment == name).sum())} cells")
        for name, colour in colours.items()
        if len(colours) > 1
    ]
    if held.any():
        entries.append(
            Patch(facecolor="none", edgecolor=INK, hatch="////", label=f"stationary: {int(held.sum())} cells")
        )
    if entries:
        figure.legend(handles=entries, loc="outside lower center", ncols=4)
