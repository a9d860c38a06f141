"""Particles picked twice: two images of one place on a micrograph share their noise, so both belong to one half."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree

from dynaflex.data.columns import ParticleColumns
from dynaflex.data.particles import Particles
from dynaflex.data.preprocess import particle_diameter
from dynaflex.errors import InputError
from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray

_COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")
_MICROGRAPH, _PIXEL_SIZE = "rlnMicrographName", "rlnMicrographPixelSize"
CLOSE = 0.25
"""Particles whose centres are this part of a diameter apart are one particle."""
_NAMED = 3
# No micrograph is as wide as this, in Å: 1 cm.
_FARTHEST = 1e8


def picked_twice(particles: Particles, mask: FloatArray | None) -> list[InputError]:
    """One error where particles of different halves lie within a quarter of a diameter of each other.

    The diameter is that of the ``mask`` ``(d d d)`` where it has the particles' box, else half the width of the box.

    A particle lies at ``rlnCoordinateX`` and ``Y`` plus its shift. Without coordinates and names of micrographs nothing
    is known, and nothing is said. Copies of one and the same image are not looked at here.
    """
    columns = ParticleColumns.of(particles.source)
    if any(name not in columns for name in (*_COORDINATES, _MICROGRAPH)):
        return []
    diameter = 0.5 * particles.grid.width
    if mask is not None and mask.shape[0] == particles.grid.box and mask.max() > 0.5:
        diameter = particle_diameter(particles.grid, torch.from_numpy(mask))
    place = _positions(particles, columns)
    known: BoolArray = np.all(np.abs(place) < _FARTHEST, axis=1)
    codes, names = pd.factorize(columns.text(_MICROGRAPH)[particles.rows])
    # A third coordinate keeps micrographs farther apart than any two particles of one.
    apart = np.column_stack([place, codes * (2.0 * CLOSE * diameter)])
    across = _across(particles, apart, known, CLOSE * diameter)
    if not len(across):
        return []
    rows = particles.rows[across]
    first = ", ".join(f"rows {one} and {two}" for one, two in rows[np.argsort(rows.min(axis=1))][:_NAMED])
    return [
        InputError(
            "halves.same-place",
            f"{len(across)} pairs of particles in different half-sets were picked at the same place of a micrograph",
            file=particles.source.path,
            field=" and ".join(_COORDINATES),
            expected=f"centres at least {CLOSE * diameter:.0f} Å apart, a quarter of the diameter",
            found=f"{first} (in {names[codes[across[0, 0]]]})",
            fix=f"remove the duplicates: relion_star_handler --i {particles.source.path} --o unique.star "
            f"--remove_duplicates {CLOSE * diameter:.0f} --image_angpix A, with the Å a pixel of the micrographs for A",
        )
    ]


def _across(particles: Particles, place: Array, known: BoolArray, radius: float) -> IntArray:
    """Pairs ``(m 2)``: every particle of half 1, and the nearest one of half 2 where that lies within a ``radius``.

    Only those whose ``place`` ``(p 3)`` is ``known`` ``(p)``, and whose image is not in both halves anyway. Not all
    pairs: where coordinates were never filled in, everything lies at one place, and every two would be one.
    """
    halves = [particles.half == half for half in (1, 2)]
    shared = np.intersect1d(*(particles.image[members] for members in halves))
    asked = known & ~np.isin(particles.image, shared)
    first, second = (np.flatnonzero(asked & members) for members in halves)
    # A tree cannot part what lies at one place, and would look at all of it for every particle.
    places, one_there = np.unique(place[second], axis=0, return_index=True)
    distance, nearest = cKDTree(places).query(place[first], distance_upper_bound=radius)
    close = np.isfinite(distance)
    pairs: IntArray = np.stack([first[close], second[one_there[nearest[close]]]], axis=1)
    return pairs


def _positions(particles: Particles, columns: ParticleColumns) -> Array:
    """Where the particles lie on their micrographs, in Å, ``(p 2)``; where that is not certain, at the least closely.

    Coordinates are in pixels of the micrograph, whose size RELION's Extract drops. The movie's is
    ``rlnMicrographOriginalPixelSize``, the images' their own: micrographs lie between the two, and only what is close
    with the largest of them is close.
    """
    rows: IntArray = particles.rows
    if _PIXEL_SIZE in columns:
        pixel_size = columns.number(_PIXEL_SIZE)[rows]
    else:
        movie = columns.number("rlnMicrographOriginalPixelSize", 0.0)[rows]
        native = np.array([native.pixel_size for native in particles.files.natives])[particles.files.native]
        pixel_size = np.fmax(movie, native)
    picked = np.stack([columns.number(name)[rows] for name in _COORDINATES], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        place: Array = picked * pixel_size[:, None] + particles.pose.shift.numpy()
    return place
