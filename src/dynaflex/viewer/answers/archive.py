"""What the page packs with the maps of a path for ChimeraX: scripts, arrows, and tables of the conformations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynaflex.palettes import CORRECTED, SCALE_OF
from dynaflex.products.analyse import place_of_box
from dynaflex.products.chimerax.script import Played, Script
from dynaflex.products.chimerax.solids import arrows
from dynaflex.shapes import FloatArray
from dynaflex.viewer.answers.conformations import Conformations
from dynaflex.viewer.density.colourings import listed

_THICKNESS = 0.0045
"""The radius of an arrow as a share of the width of what is shown; ``bodies.js`` has the same."""


@dataclass(frozen=True)
class Shown:
    """What the page shows: the ``level`` of the surface; the quantity of its ``colour`` and between which ``limits``
    the scale runs, or None; and how many ``times`` as long as the motion arrows are drawn, None for no arrows."""

    level: float
    colour: tuple[str, tuple[float, float]] | None
    times: float | None


def archive(conformations: Conformations, half: int, latents: FloatArray, shown: Shown) -> dict[str, Any]:
    """The ``texts`` by name, the names of ``maps`` and ``colours`` of ``latents`` ``(f k)`` of a half, and the
    ``center``: where the box centre lies in the coordinates of the run's maps, x y z in Å.

    Raises:
        UsageError: the latents are not of this run, or too few or too many.
        KeyError: there is no such colour.
    """
    found = conformations.along(half, latents)
    decoder, center = conformations.stage.decoder(half), place_of_box(conformations.stage.run)
    maps, colours, drawn = (
        [f"{kind}_{number:03d}.{ending}" for number in range(len(found))]
        for kind, ending in (("frame", "mrc"), ("colour", "mrc"), ("arrows", "bild"))
    )
    near = [f"{name},{half},{one.near},{one.within}" for name, one in zip(maps, found, strict=True)]
    alone = [name for name, one in zip(maps, found, strict=True) if one.near == 0]
    texts = {
        "motion.cxc": _motion(maps, shown.level, alone),
        "latents.csv": _lines(",".join(f"{value:.8g}" for value in one.latents) for one in found),
        "particles_near.csv": _lines(["map,half,particles,within", *near]),
    }
    if shown.colour is not None or shown.times is not None:
        beside = (colours if shown.colour else [], drawn if shown.times is not None else [])
        texts["motion_coloured.cxc"] = _motion_coloured(maps, *beside, shown)
    if shown.times is not None:
        radius = _THICKNESS * decoder.window.grid.width
        for name, one in zip(drawn, found, strict=True):
            start, move = np.hsplit(decoder.arrows_to(one.latents), 2)
            texts[name] = arrows(start, move, shown.times, radius, center)
    return {"center": center.tolist(), "maps": maps, "colours": colours if shown.colour else [], "texts": texts}


def _motion(maps: Sequence[str], level: float, alone: Sequence[str]) -> str:
    """A script that plays the maps and makes a movie of them."""
    script = Script()
    if alone:
        script.say(f"no particle is near {' '.join(alone)}")
    series = script.open_series(Played(maps, level, CORRECTED))
    script.do(
        "view", "movie record supersample 3", f"vseries play #{series} direction oscillate loop false",
        f"wait {2 * len(maps)}", "movie encode motion.mp4 framerate 24 quality high",
    )  # fmt: skip
    return script.text()


def _motion_coloured(maps: Sequence[str], colours: Sequence[str], drawn: Sequence[str], shown: Shown) -> str:
    """A script that shows one model a frame, coloured by the map of its own, with its arrows."""
    script = Script()
    surfaces = [script.open_map(name, shown.level, CORRECTED) for name in maps]
    if shown.colour is not None:
        quantity, limits = shown.colour
        for surface, name in zip(surfaces, colours, strict=True):
            script.colour_by(surface, name, SCALE_OF[quantity], limits)
        about = listed(quantity)
        script.key(SCALE_OF[quantity], limits, f"{about['label']}, {about['unit']}")
    frames = [[f"#{surface}"] for surface in surfaces]
    if drawn:
        script.say(f"arrows are {shown.times:g} times as long as the motion")
        for frame, name in zip(frames, drawn, strict=True):
            frame.append(f"#{script.open(name)}")
        script.do(*(f"transparency #{surface} 50" for surface in surfaces))
    script.do("view", *(f"hide {' '.join(frame)} models" for frame in frames), "movie record supersample 3")
    for frame in [*frames, *frames[-2:0:-1]]:
        script.do(f"show {' '.join(frame)} models", "wait 2", f"hide {' '.join(frame)} models")
    script.do(f"show {' '.join(frames[0])} models", "movie encode motion_coloured.mp4 framerate 24 quality high")
    return script.text()


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
