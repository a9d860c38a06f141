"""What ChimeraX draws beside surfaces: arrows and axes (.bild), and markers along paths (.cmm).

All are given in Å from the box centre and written in the coordinates of the map: the place of the box centre is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

import numpy as np

from dynaflex.analyze.domains import RigidMotion
from dynaflex.palettes import ACCENT, domain_colour, frame_colours, rgb
from dynaflex.shapes import Array, FloatArray, IntArray

_MOST = 300
_SHORTEST = 0.5
_STICK_OUT = 10.0
_SMALLEST_ANGLE = np.radians(1.0)
_MARKER, _LINK = 1.5, 0.5


def motion_of_domains(
    points: Array, start: Array, end: Array, label: IntArray, motions: Mapping[int, RigidMotion], center: Array
) -> str:
    """Arrows from ``start`` to ``end``, both ``(n 3)``, and the axes about which domains turn, in the colours of the
    domains, as .bild.

    ``points`` ``(n 3)`` are the places at rest, which bound the axes; the box centre is at ``center`` ``(3)``. Arrows
    shorter than 0.5 Å are left out, and so are axes of turns of less than 1°.
    """
    lines = [".comment arrows: where points go from the first to the last conformation, in true length"]
    step = max(1, len(points) // _MOST)
    for name in map(int, np.unique(label)):
        lines.append(_color(domain_colour(name)))
        for i in np.flatnonzero(label == name)[::step]:
            length = float(np.linalg.norm(end[i] - start[i]))
            if length >= _SHORTEST:
                lines.append(_arrow(start[i] + center, end[i] + center, min(0.6, 0.08 * length)))
        motion = motions.get(name)
        if motion is not None and motion.angle >= _SMALLEST_ANGLE:
            along = (points[label == name] - motion.point) @ motion.axis
            low, high = (motion.point + reach * motion.axis + center
                         for reach in (along.min() - _STICK_OUT, along.max() + _STICK_OUT))  # fmt: skip
            lines.append(f".comment domain {name} turns by {np.degrees(motion.angle):.1f} degrees about this axis")
            lines.append(f".cylinder {_place(low)} {_place(high)} 0.8")
    return "\n".join(lines) + "\n"


def arrows(start: FloatArray, move: FloatArray, times: float, radius: float, center: Array) -> str:
    """Arrows from ``start`` along ``move``, both ``(n 3)``, drawn so many ``times`` as long and ``radius`` Å thick, as
    .bild; those hardly longer than they are thick are left out."""
    lines = [f".comment arrows are {times:g} times as long as the motion", _color(ACCENT)]
    long = np.linalg.norm(move, axis=1) * times >= 4.0 * radius
    for begin, way in zip(start[long] + center, times * move[long], strict=True):
        lines.append(_arrow(begin, begin + way, radius))
    return "\n".join(lines) + "\n"


def path_markers(tracks: Mapping[str, Array], center: Array) -> str:
    """Where things are in each conformation: linked markers for each of ``tracks`` ``(f 3)`` by name, as .cmm.

    Markers have the colour of their conformation, as in the explorer's plot.
    """
    markers: list[str] = []
    links: list[str] = []
    for name, track in tracks.items():
        colours = [_attributes(zip("rgb", rgb(colour), strict=True)) for colour in frame_colours(len(track))]
        for frame, (place, colour) in enumerate(zip(track + center, colours, strict=True)):
            number = len(markers) + 1
            where = _attributes(zip("xyz", place, strict=True))
            note = quoteattr(f"{name}, conformation {frame}")
            markers.append(f'<marker id="{number}" {where} {colour} radius="{_MARKER}" note={note}/>')
            if frame:
                links.append(f'<link id1="{number - 1}" id2="{number}" {colour} radius="{_LINK}"/>')
    return "\n".join(['<marker_set name="path">', *markers, *links, "</marker_set>"]) + "\n"


def _attributes(pairs: zip[tuple[str, float]]) -> str:
    return " ".join(f'{name}="{value:.3f}"' for name, value in pairs)


def _arrow(start: Array | FloatArray, end: Array | FloatArray, radius: float) -> str:
    return f".arrow {_place(start)} {_place(end)} {radius:.3f} {2.2 * radius:.3f} 0.7"


def _color(colour: str) -> str:
    return ".color " + " ".join(f"{part:.3f}" for part in rgb(colour))


def _place(point: Array | FloatArray) -> str:
    return " ".join(f"{value:.3f}" for value in point)
