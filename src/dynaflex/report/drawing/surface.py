"""Shaded pictures of isosurfaces, drawn without a graphics card: marching cubes, then a z-buffer in NumPy.

The camera looks along -z of its own frame, x to the right and y up, without perspective. Colour comes from the surface,
brightness from a lamp above the viewer's left shoulder and from how far a place lies below its surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, uniform_filter
from skimage.measure import marching_cubes

from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray

SUPERSAMPLING = 2
LAMP = np.array([-0.35, 0.5, 0.8]) / np.linalg.norm([-0.35, 0.5, 0.8])
AMBIENT, DIFFUSE, GLOSS, SHININESS = 0.38, 0.7, 0.15, 30
OCCLUSION_REACH = (1 / 64, 1 / 24)
"""Half-widths, as parts of the picture's width, of the surroundings that a place is compared with."""
OCCLUSION_STRENGTH, DEEPEST, DARKEST = 2.2, 0.25, 0.4
PIXELS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Surface:
    """Triangles ``faces`` ``(m 3)`` over ``vertices`` ``(n 3)`` (x, y, z) in Å, with the unit ``normals`` ``(n 3)``."""

    vertices: Array
    faces: IntArray
    normals: Array


@dataclass(frozen=True)
class _Fragments:
    """Places on the surface, one per pixel or more: the flat ``pixel``, the triangle ``face``, and there the weights
    ``(n 3)`` of its corners and the ``depth``, larger where nearer."""

    pixel: IntArray
    face: IntArray
    weights: Array
    depth: Array

    def take(self, chosen: IntArray | BoolArray) -> _Fragments:
        return _Fragments(self.pixel[chosen], self.face[chosen], self.weights[chosen], self.depth[chosen])


def isosurface(volume: FloatArray, level: float, pixel_size: float) -> Surface:
    """The surface where ``volume`` ``[z, y, x]`` crosses ``level``, origin at the box centre, in Å.

    A level that the volume never crosses gives a surface without triangles.
    """
    if not volume.min() < level < volume.max():
        return Surface(np.empty((0, 3)), np.empty((0, 3), dtype=np.int64), np.empty((0, 3)))
    vertices, faces, normals, _ = marching_cubes(volume, level)
    center = volume.shape[0] // 2
    return Surface(
        (vertices[:, ::-1] - center) * pixel_size, faces.astype(np.int64), normals[:, ::-1].astype(np.float64)
    )


def values_at(surface: Surface, volume: FloatArray, pixel_size: float) -> Array:
    """``volume`` ``[z, y, x]`` read at the vertices of a surface ``(n)``, to colour it by; 0 outside the box."""
    where = surface.vertices[:, ::-1] / pixel_size + volume.shape[0] // 2
    return np.asarray(map_coordinates(volume.astype(np.float64), where.T, order=1))


def draw_surface(
    surface: Surface, colours: Array, camera: Array, center: Array, reach: float, size: int = 480
) -> NDArray[np.uint8]:
    """A picture ``(size size 4)``, red, green, blue and opacity; the background is transparent.

    ``colours`` ``(n 3)``, or ``(3)`` for all, lie in 0 to 1. ``camera`` ``(3 3)`` rotates the map into the camera's
    frame. The picture shows ``reach`` Å to each side of the point ``center`` ``(3)``.
    """
    fine = size * SUPERSAMPLING
    seen = (surface.vertices - center) @ camera.T / reach
    pixels = np.stack([1.0 + seen[:, 0], 1.0 - seen[:, 1]], axis=1) * (fine / 2.0)
    nearest = _nearest(_rasterise(pixels, seen[:, 2], surface.faces, fine), fine)
    picture = np.zeros((fine * fine, 4))
    picture[nearest.pixel, :3] = _shaded(nearest, surface, colours, camera, fine)
    picture[nearest.pixel, 3] = 1.0
    fields = picture.reshape(fine, fine, 4)
    parts = [fields[i::SUPERSAMPLING, j::SUPERSAMPLING] for i in range(SUPERSAMPLING) for j in range(SUPERSAMPLING)]
    blocks = np.add.reduce(parts) / len(parts)
    # The mean of colours counts only what is covered; opacity says how much that is.
    blocks[..., :3] /= np.maximum(blocks[..., 3:], 1e-9)
    return (blocks * 255.0 + 0.5).astype(np.uint8)


def view_from(azimuth: float, elevation: float) -> Array:
    """The camera ``(3 3)`` that turns the map by ``azimuth`` degrees about its z axis, which points up, and then looks
    down on it from ``elevation`` degrees above the horizon."""
    a, e = np.radians([azimuth, 90.0 - elevation])
    turn = np.array([[np.cos(a), -np.sin(a), 0.0], [np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])
    tip = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(e), np.sin(e)], [0.0, -np.sin(e), np.cos(e)]])
    return np.asarray(tip @ turn)


def turned(camera: Array, angle: float) -> Array:
    """The ``camera`` ``(3 3)`` after the map has turned by ``angle`` degrees about the upright axis: what was on the
    right comes to the front."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.asarray(np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]) @ camera)


def _rasterise(pixels: Array, depth: Array, faces: IntArray, size: int) -> _Fragments:
    """Every pixel centre that a triangle covers, for every triangle with corners at ``pixels`` ``(n 2)``.

    Triangles whose bounding boxes are equally large are tried together, pixel by pixel.
    """
    corners = pixels[faces]
    low = np.floor(corners.min(axis=1) + 0.5).astype(np.int64)
    extent = (np.ceil(corners.max(axis=1) - 0.5).astype(np.int64) - low + 1).max(axis=1)
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    inside = (low + extent[:, None] > 0).all(axis=1) & (low < size).all(axis=1) & (np.abs(area) > 1e-9)
    area = np.where(inside, area, 1.0)[:, None]
    # The weights of the second and third corner grow by these per pixel to the right and per pixel down.
    across = np.stack([edge2[:, 1], -edge1[:, 1]], axis=1) / area
    down = np.stack([-edge2[:, 0], edge1[:, 0]], axis=1) / area
    offset = low + 0.5 - corners[:, 0]
    first = across * offset[:, :1] + down * offset[:, 1:]
    found = [_Fragments(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3)), np.empty(0))]
    for width in np.unique(extent[inside & (extent > 0)]):
        members = np.flatnonzero(inside & (extent == width))
        row, column = np.divmod(np.arange(width * width), width)
        step = max(1, PIXELS_AT_ONCE // width**2)
        for start in range(0, len(members), step):
            face = members[start : start + step]
            second, third = (
                first[face, i, None] + across[face, i, None] * column + down[face, i, None] * row for i in (0, 1)
            )
            # A little slack, so that no pixel is lost on an edge between two triangles.
            which, place = np.nonzero(np.minimum(np.minimum(second, third), 1.0 - second - third) >= -1e-6)
            x, y = low[face[which], 0] + column[place], low[face[which], 1] + row[place]
            shown = (x >= 0) & (x < size) & (y >= 0) & (y < size)
            which, place = which[shown], place[shown]
            share = np.stack([second[which, place], third[which, place]], axis=1)
            weights = np.concatenate([1.0 - share.sum(axis=1, keepdims=True), share], axis=1)
            height = np.einsum("nc,nc->n", depth[faces[face[which]]], weights)
            found.append(_Fragments((y * size + x)[shown], face[which], weights, height))
    parts = zip(*((f.pixel, f.face, f.weights, f.depth) for f in found), strict=True)
    return _Fragments(*(np.concatenate(part) for part in parts))


def _nearest(fragments: _Fragments, size: int) -> _Fragments:
    """For every pixel that is covered the fragment nearest to the viewer."""
    order = np.argsort(fragments.depth, kind="stable")
    winner = np.full(size * size, -1)
    winner[fragments.pixel[order]] = order
    return fragments.take(winner[winner >= 0])


def _shaded(nearest: _Fragments, surface: Surface, colours: Array, camera: Array, size: int) -> Array:
    """The colour ``(n 3)`` of every visible fragment."""
    corners = surface.faces[nearest.face]
    normal = np.einsum("ncx,nc->nx", surface.normals[corners], nearest.weights) @ camera.T
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    # Where the box cuts a molecule open its inside is seen; it is lit like the outside.
    normal *= np.where(normal[:, 2:] < 0.0, -1.0, 1.0)
    halfway = LAMP + np.array([0.0, 0.0, 1.0])
    halfway /= np.linalg.norm(halfway)
    colour = np.broadcast_to(colours, surface.vertices.shape)[corners]
    light = AMBIENT + DIFFUSE * np.clip(normal @ LAMP, 0.0, 1.0)
    gloss = GLOSS * np.clip(normal @ halfway, 0.0, 1.0) ** SHININESS
    dimmed = light * _openness(nearest, size)
    mixed = np.einsum("ncx,nc->nx", colour, nearest.weights)
    return np.asarray(np.clip(mixed * dimmed[:, None] + gloss[:, None], 0.0, 1.0))


def _openness(nearest: _Fragments, size: int) -> Array:
    """1 where a fragment lies as high as its surroundings, less in a pit."""
    if not len(nearest.depth):
        return np.empty(0)
    flat = np.full(size * size, nearest.depth.min())
    flat[nearest.pixel] = nearest.depth
    depth = flat.reshape(size, size)
    pit = np.zeros_like(depth)
    for part in OCCLUSION_REACH:
        surroundings = uniform_filter(depth, 2 * max(1, round(size * part)) + 1)
        pit += np.clip(surroundings - depth, 0.0, DEEPEST)
    return np.asarray(np.clip(1.0 - OCCLUSION_STRENGTH * pit, DARKEST, 1.0).ravel()[nearest.pixel])
