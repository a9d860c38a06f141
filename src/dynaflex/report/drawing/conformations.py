"""The conformations a run found: a contour of its map, and projections of it, carried along the main motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.ndimage import binary_dilation, label

from dynaflex import fourier
from dynaflex.analyze.domains import camera_across
from dynaflex.density.contour import Coarse, level_enclosing
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.splat import splat
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.report.drawing.style import bare, drawn, motion_scale, new_figure, scale_bar
from dynaflex.report.drawing.surface import Surface, draw_surface, isosurface
from dynaflex.results.trained import TrainedHalf, config_of
from dynaflex.results.volumes import map_at_rest
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, FloatArray, IntArray, Tensor

FRAMES = 5
_SMALLEST_BOX, _LARGEST_BOX = 64, 128
_SMALLEST_PART = 0.02
_PIXELS = 300


@dataclass(frozen=True)
class Conformations:
    """Conformations from -2 to +2 standard deviations along the first principal axis of the latents of half 1.

    ``surface`` is a contour of the map at rest, ``moved`` ``(f n 3)`` where its vertices are in Å, and ``projections``
    ``(f d d)``, of ``pixel_size`` Å, are images of the map. Both are seen by the ``camera`` ``(3 3)``, which looks
    across the motion, about the point ``center`` ``(3)``.
    """

    surface: Surface
    moved: Array
    projections: Array
    pixel_size: float
    camera: Array
    center: Array


@dataclass(frozen=True)
class CarriedSurface:
    """A contour of a ``volume`` ``(d d d)`` on a ``grid`` and where its vertices are, ``moved`` ``(f n 3)`` in Å, in
    some conformations, seen by a ``camera`` ``(3 3)`` that looks across the motion about the point ``center`` ``(3)``.
    """

    surface: Surface
    moved: Array
    volume: Tensor
    level: float
    grid: Grid
    camera: Array
    center: Array


def five_conformations(trained: TrainedHalf, latents: Tensor, found: CarriedSurface) -> Conformations:
    """Five of the conformations ``latents`` ``(f k)`` that a surface was carried to, evenly from the first to the last,
    and what the map looks like in them."""
    every = slice(None, None, (len(latents) - 1) // (FRAMES - 1))
    dense = torch.from_numpy(binary_dilation((found.volume > found.level).numpy(), iterations=2))
    at_rest = CarriedMap(
        found.volume.clamp(min=0.0), found.grid, trained.model.deformation, trained.model.density.home(), within=dense
    )
    across, center = torch.from_numpy(found.camera[:2].T).float(), torch.from_numpy(found.center).float()
    seen = torch.stack([(at_rest.places(z) - center) @ across for z in latents[every]])
    images = fourier.inverse_transform(splat(seen, at_rest.mass, found.grid), 2)
    return Conformations(
        found.surface,
        found.moved[every],
        images.numpy().astype(np.float64),
        found.grid.pixel_size,
        found.camera,
        found.center,
    )


def carry_surface(run: Run, trained: TrainedHalf, latents: Tensor) -> CarriedSurface:
    """A contour of the corrected map of all particles, carried by the model of a half to the conformations ``latents``
    ``(f k)``; before there is a map, of the half's trained density.

    Raises:
        InputError: the map cannot be read, or shows no molecule.
    """
    volume, grid = small(*map_at_rest(run, trained))
    level = contour(volume, grid, config_of(run).shared_resolution)
    shown = without_islands(volume.numpy(), level)
    surface = isosurface(shown, level, grid.pixel_size)
    vertices = torch.from_numpy(np.ascontiguousarray(surface.vertices, dtype=np.float32))
    moved = (vertices + trained.displacements(latents, vertices)).numpy().astype(np.float64)
    center = ((vertices.amin(dim=0) + vertices.amax(dim=0)) / 2).numpy().astype(np.float64)
    return CarriedSurface(surface, moved, torch.from_numpy(shown), level, grid, camera_across(moved), center)


def small(values: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
    """A map ``(d d d)`` in a box that a picture can show, and the ``grid`` of that."""
    cropped = grid.cropped(min(max(grid.box, _SMALLEST_BOX), _LARGEST_BOX))
    return fourier.resize(values, cropped.box, 3), cropped


def contour(volume: Tensor, grid: Grid, coarse: float) -> float:
    """The level in a map ``(d d d)`` that encloses as many voxels as the molecule fills, seen at ``coarse`` Å.

    Raises:
        InputError: the map shows no molecule.
    """
    inside = Coarse.of(volume, grid, coarse).filled
    if not inside:
        raise InputError(
            "map.empty-contour",
            "no molecule can be seen in this map",
            fix="look at the half-maps, and whether molecules are white in the map that the run began with",
        )
    return level_enclosing(volume, inside)


@drawn
def draw_conformations(found: Conformations) -> Figure:
    """A column per conformation: its surface, coloured by the distance to the middle one, and its projection."""
    distance = from_the_middle(found.moved)
    colours = motion_scale(distance)
    across, up = 1.05 * np.abs((found.moved - found.center) @ found.camera[:2].T).max(axis=(0, 1))
    reach = max(across, up)
    figure = new_figure(min(0.5 + 2.85 * up / across, 8.0))
    panels = figure.subplots(2, FRAMES)
    box = found.projections.shape[1]
    first = (-(box // 2) - 0.5) * found.pixel_size
    last = first + box * found.pixel_size
    brightest = float(np.percentile(found.projections, 99.9))
    for frame, (above, below) in enumerate(panels.T):
        surface = carried(found.surface, found.moved[frame])
        fills = colours.to_rgba(distance[frame])[:, :3]
        picture = draw_surface(surface, fills, found.camera, found.center, reach, _PIXELS)
        above.imshow(picture, extent=(-reach, reach, -reach, reach))
        below.imshow(
            found.projections[frame],
            cmap="gray",
            vmin=0.0,
            vmax=brightest,
            origin="lower",
            extent=(first, last, first, last),
            interpolation="bicubic",
        )
        step = 4.0 * frame / (FRAMES - 1) - 2.0
        above.set_title("mean" if step == 0 else f"{step:+.0f} sd".replace("-", "−"), loc="center")
        for axes in (above, below):
            axes.set(xlim=(-across, across), ylim=(-up, up), facecolor="black" if axes is below else "none")
            bare(axes)
    scale_bar(panels[0, 0], 2 * across)
    bar = figure.colorbar(colours, ax=panels, shrink=0.6, aspect=24, label="from the middle one, Å")
    bar.outline.set_visible(False)
    return figure


def without_islands(volume: FloatArray, level: float) -> FloatArray:
    """The volume, in which islands above ``level`` of less than a fiftieth of the largest part are flattened to it:
    they are taken for noise."""
    parts, count = label(volume > level)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    islands = (parts > 0) & (sizes[parts] < _SMALLEST_PART * sizes[1:].max(initial=0))
    return np.where(islands, np.nextafter(np.float32(level), np.float32(-np.inf)), volume)


def from_the_middle(moved: Array) -> Array:
    """How far points ``(f n 3)`` are from where they are in the middle conformation, ``(f n)``."""
    return np.asarray(np.linalg.norm(moved - moved[len(moved) // 2], axis=2))


def carried(surface: Surface, vertices: Array) -> Surface:
    """The surface with its vertices ``(n 3)`` elsewhere, and the normals that belong to them."""
    # Which way round the triangles go is the business of whoever made them.
    outwards = np.sign((_normals(surface.vertices, surface.faces) * surface.normals).sum()) or 1.0
    return Surface(vertices, surface.faces, outwards * _normals(vertices, surface.faces))


def _normals(vertices: Array, faces: IntArray) -> Array:
    """Unit normals ``(n 3)`` at vertices: the mean of those of the triangles around, weighted by area."""
    corners = vertices[faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros(vertices.shape)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))
