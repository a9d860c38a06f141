"""The states that were reconstructed of a run: how many particles, how well their half-maps agree, what they look
like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.products.names import STATE, STATES
from dynaflex.report import page
from dynaflex.report.drawing import conformations
from dynaflex.report.drawing.local_resolution import without_gaps
from dynaflex.report.drawing.style import RESOLUTION_COLOURS, bare, drawn, new_figure, scale_bar
from dynaflex.report.drawing.surface import Surface, draw_surface, isosurface, values_at
from dynaflex.report.evidence import Evidence, guarded
from dynaflex.report.facts.files import Record
from dynaflex.report.facts.resolution import quoted
from dynaflex.run.results import listed_in
from dynaflex.shapes import Array

_MAPS = "maps-of-states"
_SAID, _MAP, _LOCAL, _SCRIPT = "state.json", "map.mrc", "local_resolution.mrc", "state.cxc"
_COMBINED = "combined.mrc"
_HEAD = (
    "state", "particles", "of half 1 / 2", "molecule, rigid → corrected", "moving part, the same"
)  # fmt: skip
_DRAWN, _COLUMNS, _PIXELS = 12, 4, 320


@dataclass(frozen=True)
class Seen:
    """A contour of the corrected map of a state, and the local resolution ``(n)`` in Å at its vertices."""

    name: str
    surface: Surface
    resolution: Array


def reconstructed(shown: Evidence) -> Iterator[str]:
    """A table of the states in the run, their maps, and where the files are; nothing where there are none."""
    found = _stored(shown)
    if not found:
        return
    yield guarded(STATES, lambda: page.table([_row(name, said) for name, said in found.items()], _HEAD))
    yield page.paragraph(
        "Resolutions are those of half-maps of the particles of the state alone, at FSC 0.143; – is no agreement "
        "beyond what the halves had in common from the start."
    )
    drawing = list(found)[:_DRAWN]
    caption = (
        "The corrected map of each state, from its own particles, coloured by local resolution; all seen as the map of "
        "the whole run is."
    )
    if len(found) > len(drawing):
        caption += f" The first {len(drawing)} of {len(found)}."
    seen = [_seen(shown, name) for name in drawing]
    yield shown.figure(_MAPS, caption, STATES, seen, lambda states: draw_states(states, shown.camera))
    for name, said in found.items():
        folder = f"{STATES}/{name}"
        files = {"map": f"{folder}/{_MAP}"}
        if "combined" in said["resolution"]:
            files["with all particles"] = f"{folder}/{_COMBINED}"
        files |= {"ChimeraX": f"{folder}/{_SCRIPT}", "folder": folder}
        yield page.links(f"{name}, {said.get('what')}:", files)


def _stored(shown: Evidence) -> dict[str, Record]:
    """What is known of each state whose files are as they were written, by the name of its folder."""
    found = {}
    for path in sorted((shown.files.run / STATES).glob(f"*/{_SAID}")):
        said = shown.files.record(f"{STATES}/{path.parent.name}/{_SAID}")
        listed = listed_in(path.parent, STATE)
        if said is not None and not any(listed.fault(name) for name in (_SAID, _MAP, _LOCAL)):
            found[path.parent.name] = said
    return found


def _row(name: str, said: Record) -> tuple[str, ...]:
    counts = list(said["particles"].values())
    pairs = [_arrow(said[kind]) for kind in ("resolution", "moving_part")]
    return name, f"{sum(counts):,}", " / ".join(f"{count:,}" for count in counts), *pairs


def _arrow(resolution: Mapping[str, object]) -> str:
    pair = (quoted({"resolution": resolution.get(kind)}) for kind in ("rigid", "deformed"))
    return " → ".join("–" if value is None else f"{value:.1f} Å" for value in pair)


def _seen(shown: Evidence, name: str) -> Seen | None:
    merged, local = (shown.files.volume(f"{STATES}/{name}/{file}") for file in (_MAP, _LOCAL))
    if merged is None or local is None:
        return None
    whole = Grid(merged.box, merged.pixel_size or 1.0)
    volume, grid = conformations.small(torch.from_numpy(merged.data), whole)
    try:
        level = conformations.contour(volume, grid, shown.start)
    except InputError:
        return None
    surface = isosurface(conformations.without_islands(volume.numpy(), level), level, grid.pixel_size)
    return Seen(name, surface, values_at(surface, without_gaps(local.data), whole.pixel_size))


@drawn
def draw_states(states: list[Seen | None], camera: Array) -> Figure:
    """The maps of some states side by side, at one scale, seen by the ``camera`` ``(3 3)``; None is one without."""
    seen = [state for state in states if state is not None and len(state.surface.vertices)]
    if not seen:
        raise ValueError("no map of a state shows a molecule")
    colours = ScalarMappable(
        Normalize(*np.percentile(np.concatenate([state.resolution for state in seen]), (2, 98))), RESOLUTION_COLOURS
    )
    everything = np.concatenate([state.surface.vertices for state in seen])
    center = (everything.max(axis=0) + everything.min(axis=0)) / 2
    across, up = 1.05 * np.abs((everything - center) @ camera[:2].T).max(axis=0)
    reach = float(max(across, up))
    columns = min(max(len(seen), 3), _COLUMNS)
    rows = -(-len(seen) // columns)
    figure = new_figure(min(rows * (0.4 + 7.0 / columns * up / across), 9.0))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, state in zip(panels.flat, seen, strict=False):
        axes.set_axis_on()
        fills = colours.to_rgba(state.resolution)[:, :3]
        picture = draw_surface(state.surface, fills, camera, center, reach, _PIXELS)
        axes.imshow(picture, extent=(-reach, reach, -reach, reach))
        axes.set(xlim=(-across, across), ylim=(-up, up))
        axes.set_title(state.name, loc="center")
        bare(axes)
    scale_bar(panels[0, 0], 2 * float(across))
    bar = figure.colorbar(colours, ax=panels, shrink=0.6, aspect=24, label="local resolution, Å")
    bar.outline.set_visible(False)
    return figure
