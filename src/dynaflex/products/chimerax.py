"""What ChimeraX opens: scripts (.cxc), and arrows and axes (.bild). Paths in a script are relative to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynaflex.analyze.domains import RigidMotion
from dynaflex.shapes import Array, IntArray

ARROWS = 300
COLOURS = ("#5b84c4", "#e0913a", "#5aa469", "#c4546b", "#8a6bb8", "#5fa8b3")
_SHORTEST = 0.5
_STICK_OUT = 10.0
_SMALLEST_ANGLE = np.radians(1.0)


@dataclass(frozen=True)
class Shown:
    """A map file and the ``level`` of its contour, in a colour, and whether it is shown at first."""

    file: Path
    level: float
    colour: str
    visible: bool = True


def opening() -> list[str]:
    """What every script begins with."""
    return ["close session", "set bgColor white", "lighting soft", "graphics silhouettes true"]


def show_maps(maps: Iterable[Shown], first_model: int, origin: Sequence[float]) -> list[str]:
    """Commands that open maps as models from ``first_model`` on."""
    lines = []
    for model, shown in enumerate(maps, first_model):
        lines += [
            f'open "{shown.file.as_posix()}"',
            f"volume #{model} style surface step 1 level {shown.level:.6g} color {shown.colour}{_at(origin)}",
            f"surface dust #{model} size 10",
        ]
        if not shown.visible:
            lines.append(f"hide #{model} models")
    return lines


def show_series(
    files: Sequence[Path], level: float, model: int, origin: Sequence[float], colour: str = COLOURS[0]
) -> list[str]:
    """Commands that open maps as one series, model number ``model``, and play it to and fro."""
    names = " ".join(f'"{file.as_posix()}"' for file in files)
    return [
        f"open {names} vseries true",
        f"volume #{model} style surface step 1 level {level:.6g} color {colour}{_at(origin)}",
        f"vseries play #{model} direction oscillate loop true maxFrameRate 12",
    ]


def bild(
    points: Array, start: Array, end: Array, label: IntArray, motions: dict[int, RigidMotion], corner: Array
) -> str:
    """Arrows from ``start`` to ``end``, both ``(n 3)``, and the axes about which domains turn, in the colours of the
    domains.

    ``points`` ``(n 3)`` are the places at rest, which bound the axes. All are in Å from the box centre; ``corner``
    ``(3)``, the place of the box centre in the map's coordinates, is added. Arrows shorter than 0.5 Å are left out, and
    so are axes of turns of less than 1°.
    """
    lines = [".comment arrows: where points go from the first to the last conformation, in true length"]
    step = max(1, len(points) // ARROWS)
    for name in np.unique(label):
        lines.append(f".color {_rgb(COLOURS[(int(name) - 1) % len(COLOURS)] if name > 0 else '#9aa3ad')}")
        for i in np.flatnonzero(label == name)[::step]:
            length = float(np.linalg.norm(end[i] - start[i]))
            if length >= _SHORTEST:
                radius = min(0.6, 0.08 * length)
                lines.append(f".arrow {_at_place(start[i] + corner)} {_at_place(end[i] + corner)} {radius:.2f} "
                             f"{2.2 * radius:.2f} 0.7")  # fmt: skip
        motion = motions.get(int(name))
        if motion is not None and motion.angle >= _SMALLEST_ANGLE:
            along = (points[label == name] - motion.point) @ motion.axis
            low, high = (motion.point + reach * motion.axis + corner
                         for reach in (along.min() - _STICK_OUT, along.max() + _STICK_OUT))  # fmt: skip
            lines.append(f".comment domain {name} turns by {np.degrees(motion.angle):.1f} degrees about this axis")
            lines.append(f".cylinder {_at_place(low)} {_at_place(high)} 0.8")
    return "\n".join(lines) + "\n"


def _at(origin: Sequence[float]) -> str:
    return " origin " + ",".join(f"{value:g}" for value in origin) if any(origin) else ""


def _at_place(point: Array) -> str:
    return " ".join(f"{value:.2f}" for value in point)


def _rgb(colour: str) -> str:
    return " ".join(f"{int(colour[i : i + 2], 16) / 255:.3f}" for i in (1, 3, 5))
