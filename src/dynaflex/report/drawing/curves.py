"""Curves of a report from one description: for paper, and for a page on which a mouse reads and enlarges them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dynaflex.report.drawing.style import INK, drawn, new_figure, note
from dynaflex.shapes import Array

STYLE = """
.curves .charts { display: none; gap: 1rem 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
.curves .hint { display: none; margin: .4rem 0 0; color: var(--soft); font-size: .8rem; }
.chart h3 { margin: 0 0 .3rem; font-size: .87rem; }
.chart .u-legend { margin: .2rem 0 0; text-align: left; font-size: .78rem; }
.chart .u-legend tr { margin-right: .6rem; }
.chart .u-legend .u-series > * { width: auto; padding: 0 2px; border: 0; font-weight: 400; }
.chart .u-legend .u-marker { width: 1.5em; height: 0; border-width: 0 0 2px !important; }
.chart .u-legend .u-value { min-width: 3.2em; font-variant-numeric: tabular-nums; }
.chart .u-select { background: color-mix(in srgb, var(--ink) 12%, transparent); }
@media screen { .curves.works > svg { display: none; } .curves.works .charts { display: grid; }
  .curves.works .hint { display: block; } }
"""
_RESOLUTIONS = (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.7, 2.5, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1)
_APART = 0.09
"""Ticks in Å are at least this part of the axis away from each other."""
_PER_INCH = 96
_COLUMNS = 2


@dataclass(frozen=True)
class Curve:
    """Values ``y`` ``(n)`` over ``x`` ``(n)``, NaN where they are not known, in a ``style`` of line: -, -- or :."""

    label: str
    x: Array
    y: Array
    colour: str
    style: str = "-"
    width: float = 1.5


@dataclass(frozen=True)
class Mark:
    """A point on a curve that is named, above it or ``below``."""

    x: float
    y: float
    text: str
    colour: str
    below: bool = False


@dataclass(frozen=True)
class Plot:
    """Curves in one pair of axes, and what helps to read them.

    ``levels`` and ``uprights`` are lines across and upwards with their names, ``bands`` ranges of x that are shaded,
    and ``band_text`` says why. With ``in_angstrom`` x is a frequency in 1/Å whose axis is read as resolution. Where
    ``x_limits`` or ``y_limits`` are not given, the curves set them; y may be ``inverted``.
    """

    title: str
    curves: Sequence[Curve]
    x_label: str
    y_label: str = ""
    in_angstrom: bool = False
    inverted: bool = False
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    levels: Mapping[float, str] = field(default_factory=dict)
    uprights: Mapping[float, str] = field(default_factory=dict)
    bands: Sequence[tuple[float, float]] = ()
    band_text: str = ""
    marks: Sequence[Mark] = ()

    def limits(self) -> tuple[float, float]:
        """Of x."""
        if self.x_limits is not None:
            return self.x_limits
        known = [float(x) for curve in self.curves for x in curve.x[np.isfinite(curve.x)]] or [0.0, 1.0]
        return min(known), max(known)


def script() -> str:
    """What makes a page draw its curves: uPlot with its licence, and how we use it."""
    vendor = files("dynaflex") / "vendor"
    library = vendor.joinpath("uPlot.iife.min.js").read_text(encoding="utf-8")
    # Its first line is its address, and a page that needs nothing else names none.
    library = library.split("\n", 1)[1]
    licence = vendor.joinpath("uPlot.LICENSE").read_text(encoding="utf-8")
    own = files("dynaflex.report.drawing").joinpath("curves.js").read_text(encoding="utf-8")
    return f"/*! uPlot 1.6.32\n{licence}\n*/\n{library}\n{own}"


def style() -> str:
    """How those curves look."""
    return files("dynaflex").joinpath("vendor", "uPlot.min.css").read_text(encoding="utf-8") + STYLE


def described(plots: Sequence[Plot], height: float) -> str:
    """The plots as JSON for :func:`script`, each ``height`` inches tall."""
    return json.dumps([_described(plot, height) for plot in plots], ensure_ascii=False, separators=(",", ":"))


@drawn
def draw_curves(plots: Sequence[Plot], height: float) -> Figure:
    """The plots two by two, ``height`` inches each, under one legend."""
    rows = -(-len(plots) // _COLUMNS)
    columns = min(len(plots), _COLUMNS)
    figure = new_figure(height * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    named: dict[str, Any] = {}
    for axes, plot in zip(panels, plots, strict=False):
        _draw(axes, plot)
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    for axes in panels[len(plots) :]:
        axes.set_axis_off()
    figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=4 if len(named) in (4, 7, 8) else 3)
    return figure


def _draw(axes: Axes, plot: Plot) -> None:
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    for order, curve in enumerate(plot.curves):
        known = np.isfinite(curve.y) & np.isfinite(curve.x)
        axes.plot(
            curve.x[known], curve.y[known], curve.style, color=curve.colour, linewidth=curve.width, label=curve.label,
            zorder=3 - 0.01 * order,
        )  # fmt: skip
    if not axes.has_data():
        note(axes, "not known")
        return
    low, high = plot.limits()
    axes.set_xlim(low, high)
    if plot.y_limits is not None:
        axes.set_ylim(*plot.y_limits)
    if plot.in_angstrom:
        ticks = _ticks(low, high)
        axes.set_xticks([1 / tick for tick in ticks], [f"{tick:g}" for tick in ticks])
    else:
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    for level, name in plot.levels.items():
        axes.axhline(level, color=INK, linewidth=0.8, alpha=0.45)
        _beside(axes, name, (1.0, level), ("axes fraction", "data"), (4, 0), ha="left", va="center")
    for x, name in plot.uprights.items():
        axes.axvline(x, color=INK, linewidth=0.8, alpha=0.6, linestyle=(0, (6, 3)))
        _beside(axes, name, (x, 1.0), ("data", "axes fraction"), (-3, -4), ha="right", va="top", rotation=90)
    for left, right in plot.bands:
        axes.axvspan(left, right, color=INK, alpha=0.07, linewidth=0)
        if plot.band_text:
            middle, unit = ((left + right) / 2, 0.04), ("data", "axes fraction")
            _beside(axes, plot.band_text, middle, unit, (0, 0), ha="center", va="bottom", rotation=90)
    for mark in plot.marks:
        _mark(axes, mark, to_the_right=not mark.below and mark.x < low + 0.8 * (high - low))
    axes.grid(axis="y")
    if plot.inverted:
        axes.invert_yaxis()


def _beside(
    axes: Axes, text: str, at: tuple[float, float], unit: tuple[str, str], offset: tuple[float, float], **how: Any
) -> None:
    """Small words by a line."""
    axes.annotate(
        text, at, xycoords=unit, xytext=offset, textcoords="offset points", fontsize=8, alpha=0.8,
        annotation_clip=False, **how,
    )  # fmt: skip


def _mark(axes: Axes, mark: Mark, to_the_right: bool) -> None:
    axes.plot(mark.x, mark.y, "o", color=mark.colour, markersize=5, zorder=5)
    axes.annotate(
        mark.text, (mark.x, mark.y), xytext=(4 if to_the_right else -4, -5 if mark.below else 5),
        textcoords="offset points", ha="left" if to_the_right else "right", va="top" if mark.below else "bottom",
        color=mark.colour, fontweight="bold",
    )  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """Round resolutions in Å that are not too near to each other, for frequencies from ``low`` to ``high``."""
    ticks: list[float] = []
    for resolution in _RESOLUTIONS:
        previous = 1 / ticks[-1] if ticks else low
        if 1 / resolution - previous >= _APART * (high - low) and 1 / resolution <= high:
            ticks.append(resolution)
    return ticks


def _described(plot: Plot, height: float) -> dict[str, Any]:
    x = np.unique(np.concatenate([curve.x[np.isfinite(curve.x)] for curve in plot.curves] or [np.empty(0)]))
    return {
        "title": plot.title,
        "height": round(_PER_INCH * height),
        "x": _numbers(x),
        "curves": [_curve(curve, x) for curve in plot.curves],
        "xLabel": plot.x_label,
        "yLabel": plot.y_label,
        "resolutions": _RESOLUTIONS if plot.in_angstrom else None,
        "apart": _APART,
        "inverted": plot.inverted,
        "xLimits": plot.limits(),
        "yLimits": plot.y_limits,
        "levels": list(plot.levels.items()),
        "uprights": list(plot.uprights.items()),
        "bands": list(plot.bands),
        "bandText": plot.band_text,
        "marks": [vars(mark) for mark in plot.marks],
    }


def _curve(curve: Curve, x: Array) -> dict[str, Any]:
    y = np.full(len(x), np.nan)
    known = np.isfinite(curve.x)
    y[np.searchsorted(x, curve.x[known])] = curve.y[known]
    look = {"colour": curve.colour, "width": curve.width, "style": curve.style}
    return {"label": curve.label, **look, "y": _numbers(y)}


def _numbers(values: Array) -> list[float | None]:
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
