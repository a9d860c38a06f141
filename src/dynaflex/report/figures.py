"""Curves and distributions of a report, each from arrays to a drawing. Lengths in Å, frequencies in 1/Å."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dynaflex.report.style import (
    ACCENT,
    DEFORMED,
    HALF,
    INK,
    RIGID,
    bare,
    drawn,
    new_figure,
    note,
)
from dynaflex.shapes import Array

Curves = Mapping[str, ArrayLike]

_RESOLUTIONS = (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.7, 2.5, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1)


@drawn
def draw_fsc(deformed: Mapping[str, Any], rigid: Mapping[str, Any] | None, claim_limit: float | None) -> Figure:
    """FSC of the two half-maps, corrected for deformation and rigid, with what lies inside ``claim_limit`` (Å) shaded.

    Each set of curves has ``frequency``, ``unmasked``, ``masked`` and ``corrected`` ``(s)``. Where it also has a
    ``resolution`` (threshold to Å or None), that is marked.
    """
    figure = new_figure(4.2)
    axes = figure.add_subplot()
    sets = [("deformed", deformed, DEFORMED)] + ([("rigid", rigid, RIGID)] if rigid is not None else [])
    for kind, width, style in (("corrected", 2.2, "-"), ("masked", 1.1, "--"), ("unmasked", 1.1, ":")):
        for order, (name, curves, colour) in enumerate(sets):
            frequency, values = _array(curves["frequency"]), _array(curves[kind])
            label = f"{name}, {kind}"
            axes.plot(frequency, values, style, color=colour, linewidth=width, label=label, zorder=3 - order)
    # Where both end alike, one mark says it.
    found = {(curves.get("resolution") or {}).get("0.143"): colour for _, curves, colour in reversed(sets)}
    for resolution, colour in found.items():
        _mark_resolution(axes, resolution, colour, above=colour == DEFORMED)
    _frame_fsc(axes, float(_array(deformed["frequency"])[-1]))
    _name_thresholds(axes)
    if claim_limit:
        _shade_shared(axes, claim_limit)
    figure.legend(loc="outside upper left", ncols=3)
    return figure


@drawn
def draw_model_fsc(halves: Mapping[str, Curves]) -> Figure:
    """FSC of the density that each half trained to the ``consensus`` map and to the ``final`` map, ``(s)`` each."""
    figure = new_figure(3.1)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, half in zip(panels, (1, 2), strict=True):
        axes.set_title(f"half {half}")
        curves = halves.get(f"half{half}")
        if curves is None:
            note(axes, "not in model_fsc.json")
            bare(axes)
            continue
        frequency = _array(curves["frequency"])
        for name, colour, style in (("consensus", RIGID, "--"), ("final", HALF[half], "-")):
            if name in curves:
                axes.plot(frequency, _array(curves[name]), color=colour, linestyle=style, label=f"to the {name} map")
        _frame_fsc(axes, float(frequency[-1]))
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 0.2))
    panels[1].set_ylabel("")
    _name_thresholds(panels[1])
    return figure


@drawn
def draw_displacements(displacement_norm: Array) -> Figure:
    """How far particles are from the reference: a histogram of their rms displacement ``(p)``, Å."""
    figure = new_figure(2.6)
    axes = figure.add_subplot()
    values = displacement_norm[np.isfinite(displacement_norm)]
    counts, edges = np.histogram(values, bins=60, range=(0.0, float(values.max(initial=1e-3))))
    axes.stairs(counts, edges, fill=True, color=DEFORMED)
    middle = float(np.median(values)) if len(values) else 0.0
    axes.axvline(middle, color=ACCENT, linewidth=1.5)
    _name_line(axes, middle, f"median {middle:.2f} Å", ACCENT)
    axes.set(xlabel="rms displacement of a particle, Å", ylabel="particles", xlim=(0.0, float(edges[-1])))
    axes.grid(axis="y")
    return figure


@drawn
def draw_threshold(edges: Array, counts: Array, threshold: float, automatic: bool) -> Figure:
    """The histogram of the consensus map (``edges`` one longer than ``counts``) with the contour that was filled."""
    figure = new_figure(2.6)
    axes = figure.add_subplot()
    axes.stairs(np.maximum(counts, 0.5), edges, fill=True, color=RIGID, alpha=0.7, baseline=0.5)
    axes.set_yscale("log")
    axes.axvspan(threshold, float(edges[-1]), color=DEFORMED, alpha=0.12, linewidth=0)
    axes.axvline(threshold, color=DEFORMED, linewidth=1.8)
    kind = "automatic" if automatic else "as given"
    _name_line(axes, threshold, f"threshold {threshold:.4g}, {kind}", DEFORMED)
    axes.set(xlabel="density of the consensus map", ylabel="voxels", xlim=(float(edges[0]), float(edges[-1])))
    return figure


def _array(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def _name_line(axes: Axes, x: float, text: str, colour: str) -> None:
    """Words above a vertical line, outside the data."""
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        color=colour,
        fontweight="bold",
        annotation_clip=False,
    )


def _frame_fsc(axes: Axes, nyquist: float) -> None:
    """Limits, both thresholds, and a frequency axis that is read in Å."""
    axes.set(xlim=(0.0, nyquist), ylim=(-0.05, 1.03), xlabel="resolution, Å", ylabel="Fourier shell correlation")
    ticks: list[float] = []
    for resolution in _RESOLUTIONS:
        previous = 1 / ticks[-1] if ticks else 0.0
        if 1 / resolution - previous >= 0.09 * nyquist and 1 / resolution <= nyquist:
            ticks.append(resolution)
    axes.set_xticks([1 / tick for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set_yticks(np.arange(0.0, 1.1, 0.2))
    for level in (0.143, 0.5):
        axes.axhline(level, color=INK, linewidth=0.8, alpha=0.45)


def _name_thresholds(axes: Axes) -> None:
    """The two thresholds, named in the right margin."""
    for level in (0.143, 0.5):
        axes.annotate(
            f"{level:g}",
            (1.0, level),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            alpha=0.75,
            annotation_clip=False,
        )


def _mark_resolution(axes: Axes, resolution: float | None, colour: str, above: bool) -> None:
    """A dot where a curve falls below 0.143, and a number ``above`` it to the right, or below it to the left."""
    if resolution is None:
        return
    axes.plot(1 / resolution, 0.143, "o", color=colour, markersize=6, zorder=5)
    axes.annotate(
        f"{resolution:.2f} Å",
        (1 / resolution, 0.143),
        xytext=(5, 6) if above else (-7, -5),
        textcoords="offset points",
        ha="left" if above else "right",
        va="bottom" if above else "top",
        color=colour,
        fontweight="bold",
    )


def _shade_shared(axes: Axes, claim_limit: float) -> None:
    """The band that the halves had in common."""
    axes.axvspan(0.0, 1.0 / claim_limit, color=INK, alpha=0.08, linewidth=0)
    wide = 1.0 / claim_limit > 0.2 * axes.get_xlim()[1]
    axes.annotate(
        f"inside {claim_limit:.3g} Å:\nshared, no claim" if wide else f"inside {claim_limit:.3g} Å: shared, no claim",
        (0.5 / claim_limit, 0.57),
        rotation=0 if wide else 90,
        ha="center",
        va="bottom" if wide else "center",
        fontsize=8.5,
        alpha=0.8,
    )
