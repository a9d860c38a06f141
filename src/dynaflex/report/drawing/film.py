"""Small movies for the page: surfaces in many states, drawn once, all frames in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.cm import ScalarMappable
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from dynaflex.grid import Grid
from dynaflex.report.drawing.conformations import CarriedSurface, carried, from_the_middle, without_islands
from dynaflex.report.drawing.style import motion_scale, round_length
from dynaflex.report.drawing.surface import Surface, draw_surface, isosurface, turned
from dynaflex.shapes import Array, FloatArray

FRAMES, TURNS = 17, 12
"""Conformations along the motion, and views of a turn around the molecule."""
WIDTH, HEIGHT = 760, 340
"""A frame is not larger than this, in pixels."""
QUALITY = 80
"""Of the WebP: a frame with two surfaces takes 5 to 15 kB."""
_MARGIN = 1.06
_LIMIT = 16383


@dataclass(frozen=True)
class Film:
    """Frames of ``width`` by ``height`` pixels below each other in one WebP ``sheet``, and a line of text for each.

    ``panels`` name the pictures side by side in every frame, so many pixels wide each. Colours go from 0 to ``limit``
    Å of ``quantity``, and the ``bar`` (Å) is as long as a ``share`` of a frame's width.
    """

    sheet: bytes
    width: int
    height: int
    lines: list[str]
    panels: dict[str, int]
    quantity: str
    limit: float
    bar: float
    share: float


def film_of_motion(found: CarriedSurface, names: Sequence[str]) -> Film:
    """A surface in each of its conformations, which are called by their ``names``, seen across the motion and from the
    side; coloured by how far each place is from where it is in the middle one."""
    distance = from_the_middle(found.moved)
    colours = motion_scale(distance)
    cameras = (found.camera, turned(found.camera, 90.0))
    frames = [
        [(carried(found.surface, places), colours.to_rgba(far)[:, :3], camera) for camera in cameras]
        for places, far in zip(found.moved, distance, strict=True)
    ]
    lines = [f"{name}; up to {far.max():.1f} Å from the middle" for name, far in zip(names, distance, strict=True)]
    panels = ("across the motion", "turned by 90°")
    return _filmed(frames, found.center, lines, panels, "from the middle conformation", colours)


def in_deviations(steps: Array) -> list[str]:
    """The names of conformations that lie so many standard deviations from the mean."""
    return [f"{_signed(step)} standard deviations" for step in steps]


def film_of_one(found: CarriedSurface, names: tuple[str, str]) -> Film:
    """The first and the last of the conformations of a surface side by side, turning about the upright axis; coloured
    by how far each place goes between them."""
    ends = [carried(found.surface, places) for places in (found.moved[0], found.moved[-1])]
    distance = np.linalg.norm(found.moved[-1] - found.moved[0], axis=1)
    colours = motion_scale(distance)
    fill = colours.to_rgba(distance)[:, :3]
    angles = np.arange(TURNS) * 360.0 / TURNS
    frames = [[(end, fill, turned(found.camera, angle)) for end in ends] for angle in angles]
    return _filmed(frames, found.center, _turns(angles), names, f"from the {names[0]}", colours)


def film_of_maps(
    pair: tuple[FloatArray, FloatArray], level: float, grid: Grid, camera: Array, points: Array, moves: Array
) -> Film:
    """Contours of the rigid and the corrected map ``(d d d)`` at one ``level``, side by side, turning about the upright
    axis of the ``camera`` ``(3 3)``.

    Coloured by how far the nearest of the ``points`` ``(n 3)`` in Å ``moves`` ``(n)``, Å rms.
    """
    near = cKDTree(points)
    colours = motion_scale(moves)
    surfaces = [isosurface(without_islands(volume, level), level, grid.pixel_size) for volume in pair]
    fills = [colours.to_rgba(moves[near.query(surface.vertices)[1]])[:, :3] for surface in surfaces]
    angles = np.arange(TURNS) * 360.0 / TURNS
    center = (points.max(axis=0) + points.min(axis=0)) / 2
    frames = [
        [(surface, fill, turned(camera, angle)) for surface, fill in zip(surfaces, fills, strict=True)]
        for angle in angles
    ]
    return _filmed(frames, center, _turns(angles), ("rigid", "corrected"), "moves by, rms", colours)


def _filmed(
    frames: Sequence[Sequence[tuple[Surface, Array, Array]]],
    center: Array,
    lines: list[str],
    panels: tuple[str, str],
    quantity: str,
    colours: ScalarMappable,
) -> Film:
    """Draw frames of surfaces with colours and cameras, all on one scale, in the smallest frame that holds them."""
    center = _halfway_up(frames, center)
    across = np.zeros(len(panels))
    up = 1.0
    for frame in frames:
        for panel, (surface, _, camera) in enumerate(frame):
            reach = _MARGIN * np.abs((surface.vertices - center) @ camera[:2].T).max(axis=0, initial=0.0)
            across[panel], up = max(across[panel], reach[0]), max(up, reach[1])
    across = np.maximum(across, 0.3 * up)
    scale = min(WIDTH / (2.0 * across.sum()), HEIGHT / (2.0 * up), _LIMIT / len(frames) / (2.0 * up))
    reach = max(up, float(across.max()))
    size = int(np.ceil(2.0 * reach * scale / 2.0)) * 2
    half_widths = [int(part * size / (2.0 * reach)) for part in across]
    half_height = int(up * size / (2.0 * reach))
    pictures = []
    for frame in frames:
        row = [
            _cut(draw_surface(surface, fills, camera, center, reach, size), half_width, half_height)
            for (surface, fills, camera), half_width in zip(frame, half_widths, strict=True)
        ]
        pictures.append(np.concatenate(row, axis=1))
    height, width = pictures[0].shape[:2]
    bar = round_length(2.0 * float(across.min()) / 4.0)
    share = bar * size / (2.0 * reach) / width
    limit = float(colours.get_clim()[1] or 1.0)
    named = {name: 2 * half_width for name, half_width in zip(panels, half_widths, strict=True)}
    return Film(webp(np.concatenate(pictures)), width, height, lines, named, quantity, limit, bar, share)


def _halfway_up(frames: Sequence[Sequence[tuple[Surface, Array, Array]]], center: Array) -> Array:
    """The center moved along the upright axis, which all cameras share, to the middle of all that is seen."""
    upright = frames[0][0][2][1]
    heights = np.concatenate([(surface.vertices - center) @ upright for frame in frames for surface, _, _ in frame])
    return center if not len(heights) else center + 0.5 * (heights.min() + heights.max()) * upright


def webp(picture: NDArray[np.uint8]) -> bytes:
    """A picture ``(h w 4)`` with its opacity as WebP; equal pictures give equal bytes."""
    content = BytesIO()
    Image.fromarray(picture).save(content, format="webp", quality=QUALITY, method=4)
    return content.getvalue()


def _cut(square: NDArray[np.uint8], half_width: int, half_height: int) -> NDArray[np.uint8]:
    middle = len(square) // 2
    return square[middle - half_height : middle + half_height, middle - half_width : middle + half_width]


def _turns(angles: Array) -> list[str]:
    return [f"turned by {angle:.0f}°" for angle in angles]


def _signed(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:+.2g}".replace("-", "−")
