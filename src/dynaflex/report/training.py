"""How training went, epoch by epoch, from the lines of ``metrics.jsonl`` to a drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynaflex.report.style import HALF, INK, drawn, new_figure, note
from dynaflex.shapes import Array

Records = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Panel:
    """A title over the solid and dashed curves of these keys, if any line has one of ``keys`` (or it is ``required``).

    Curves begin at epoch ``first``. A ``level`` is marked by a line; an axis that is ``inverted`` grows downwards.
    """

    title: str
    keys: tuple[str, ...]
    required: bool = False
    first: int = 1
    level: float | None = None
    inverted: bool = False


@drawn
def draw_training(records: Records, geometry: str, width: float | None) -> Figure:
    """Curves by epoch and half: losses, the ``geometry`` of the molecule, displacement, and what else there is.

    Where the loss of held-out particles at rest is known, a panel of its own shows what the motion gains. The band
    limit of a map is given in Å if the ``width`` of the training box in Å is known, and as a Fourier shell if not.
    """
    lines = list(_derived(records, width))
    known = {key for line in lines for key, value in line.items() if isinstance(value, int | float)}
    panels = [panel for panel in _panels(lines, geometry, width) if panel.required or known & set(panel.keys)]
    rows = -(-len(panels) // 2)
    figure = new_figure(2.4 * rows + 0.1)
    places = figure.subplots(rows, 2, sharex=True, squeeze=False).ravel()
    halves = sorted({half for half in (line.get("half") for line in lines) if half in HALF})
    for axes, panel in zip(places, panels, strict=False):
        axes.set_title(panel.title)
        axes.grid(axis="y")
        for half in halves:
            _draw_half(axes, panel, [line for line in lines if line.get("half") == half], int(half))
        if axes.has_data():
            _finish(axes, panel, [line for line in lines if line.get("half") == halves[0]])
        else:
            note(axes, "not in metrics.jsonl")
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    for axes in places[max(len(panels) - 2, 0) : len(panels)]:
        axes.set_xlabel("epoch")
        axes.tick_params(labelbottom=True)
        axes.xaxis.get_major_locator().set_params(integer=True)
    if places[0].get_legend_handles_labels()[0]:
        places[0].legend(loc="best")
    return figure


def held_out_gain(line: Mapping[str, object]) -> float | None:
    """How much likelier held-out images are with the motion than at rest, nats per particle; None where not known."""
    flexible, rigid = line.get("held_out_loss"), line.get("held_out_rigid_loss")
    return rigid - flexible if isinstance(flexible, int | float) and isinstance(rigid, int | float) else None


def _panels(lines: Records, geometry: str, width: float | None) -> Iterator[Panel]:
    held_out = any(isinstance(line.get("held_out_loss"), int | float) for line in lines)
    title = "data loss" + (", held out dashed" if held_out else "")
    # In the first epoch noise still counts as white, which sets a scale of its own.
    first = 2 if max(_column(lines, "epoch"), default=0) > 2 else 1
    yield Panel(title, ("data_loss", "held_out_loss"), required=True, first=first)
    yield Panel("held out: gain over rigid, nats a particle", ("gain",), level=0.0)
    yield Panel(geometry, ("geometry",), required=True)
    yield Panel("rms displacement, Å", ("rms_displacement",), required=True)
    if len({line.get("lambda") for line in lines} - {None}) > 1:
        yield Panel("weight of the geometry, λ", ("lambda",))
    unit = "Fourier shell" if width is None else "Å"
    yield Panel(f"band limit of the map, {unit}", ("limit",), inverted=width is not None)
    yield Panel("rms latent coordinate", ("latent_spread",))


def _derived(records: Records, width: float | None) -> Iterator[dict[str, object]]:
    """The lines with the gain over the rigid model and the band limit in the unit that is shown."""
    for record in records:
        line = {**record, "gain": held_out_gain(record)}
        band = record.get("band")
        if isinstance(band, int | float) and band > 0:
            line["limit"] = band if width is None else width / band
        yield line


def _draw_half(axes: Axes, panel: Panel, lines: Records, half: int) -> None:
    epoch = _column(lines, "epoch")
    for key, style in zip(panel.keys, ("-", "--"), strict=False):
        values = _column(lines, key)
        known = np.isfinite(values) & (epoch >= panel.first)
        if known.any():
            label = (f"half {half}" if half else "all particles") if style == "-" else None
            axes.plot(epoch[known], values[known], color=HALF[half], linestyle=style, linewidth=1.5, label=label)


def _finish(axes: Axes, panel: Panel, lines: Records) -> None:
    if panel.level is not None:
        axes.axhline(panel.level, color=INK, linewidth=0.8, alpha=0.45)
    if panel.inverted:
        axes.invert_yaxis()
    for epoch in _shaded(lines):
        axes.axvspan(epoch - 0.5, epoch + 0.5, color=INK, alpha=0.07, linewidth=0)


def _shaded(lines: Records) -> list[float]:
    """Epochs of the Gaussians alone, the warm-up and the refreshes of the reference; or those before the first map."""
    epochs = [(line.get("phase"), line.get("epoch")) for line in lines]
    known = [(phase, float(epoch)) for phase, epoch in epochs if isinstance(epoch, int | float)]
    first_map = min((epoch for phase, epoch in known if phase == "map"), default=np.inf)
    return [
        epoch for phase, epoch in known if phase in ("warm-up", "gaussians") or (phase == "flow" and epoch < first_map)
    ]


def _column(lines: Records, key: str) -> Array:
    """One value per line, NaN where it is missing or null."""
    values = (line.get(key) for line in lines)
    return np.array([value if isinstance(value, int | float) else np.nan for value in values], dtype=np.float64)
