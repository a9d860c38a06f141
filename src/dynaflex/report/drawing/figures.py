"""Curves and distributions of a report, each from arrays to a drawing. Lengths in Å, frequencies in 1/Å."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dynaflex.palettes import ACCENT, CORRECTED, RIGID
from dynaflex.report.drawing.curves import Curve, Mark, Plot
from dynaflex.report.drawing.style import HALF, drawn, new_figure
from dynaflex.report.facts.resolution import Nyquist, quoted
from dynaflex.shapes import Array

Curves = Mapping[str, ArrayLike]

FSC_LABEL = "Fourier shell correlation"
THRESHOLDS = {0.143: "0.143", 0.5: "0.5"}
_KINDS = (
    ("corrected", "phase-randomised", 2.2, "-"),
    ("masked", "masked", 1.1, "--"),
    ("unmasked", "unmasked", 1.1, ":"),
)
"""What ``fsc.json`` calls a curve, and what people do, to whom corrected means the map."""
_MARGIN = 1.03


def fsc_plot(title: str, sets: Mapping[str, Any], claim_limit: float | None, nyquist: Nyquist | None) -> Plot:
    """FSC of the two half-maps, corrected for the motion (``deformed``) and ``rigid``, if that is there.

    Each of the ``sets`` has ``frequency``, ``unmasked``, ``masked`` and ``corrected`` ``(s)``, the last meaning that
    phases were randomised. Where it also has a ``resolution`` (threshold to Å or None), that is marked. What lies
    inside ``claim_limit`` (Å) is shaded.
    """
    known = [("corrected", sets["deformed"], CORRECTED)]
    known += [] if sets.get("rigid") is None else [("rigid", sets["rigid"], RIGID)]
    curves = [
        Curve(f"{name}, {words}", _array(found["frequency"]), _array(found[key]), colour, style, width)
        for key, words, width, style in _KINDS
        for name, found, colour in known
    ]
    # Where both end alike, one mark says it.
    ends = {quoted(found): colour for _, found, colour in reversed(known)}
    marks = [Mark(1 / end, 0.143, f"{end:.2f} Å", colour, colour == RIGID) for end, colour in ends.items() if end]
    last = float(curves[0].x[-1])
    return Plot(
        title, curves, "resolution, Å", FSC_LABEL, in_angstrom=True,
        x_limits=(0.0, _MARGIN * last), y_limits=(-0.05, 1.05), levels=THRESHOLDS,
        uprights={} if nyquist is None else {1 / nyquist.limit: f"{nyquist.name}, {nyquist.limit:.2f} Å"},
        bands=[(0.0, 1 / claim_limit)] if claim_limit else [],
        band_text=f"inside {claim_limit:.3g} Å: shared, no claim" if claim_limit else "",
        marks=marks,
    )  # fmt: skip


def model_fsc_plot(halves: Mapping[str, Curves]) -> Plot:
    """FSC of the density that each half trained to the ``consensus`` map and to the ``final`` map, ``(s)`` each."""
    curves = [
        Curve(f"half {half}, to its {name} map", _array(found["frequency"]), _array(found[name]), HALF[half], style)
        for name, style in (("final", "-"), ("consensus", "--"))
        for half in (1, 2)
        if name in (found := halves.get(f"half{half}", {}))
    ]
    limits = (0.0, _MARGIN * max(float(curve.x[-1]) for curve in curves))
    return Plot(
        "", curves, "resolution, Å", FSC_LABEL, in_angstrom=True, x_limits=limits, y_limits=(-0.05, 1.05),
        levels=THRESHOLDS,
    )  # fmt: skip


@drawn
def draw_displacements(displacement_norm: Array) -> Figure:
    """How far particles are from the reference: a histogram of their rms displacement ``(p)``, Å."""
    figure = new_figure(2.6)
    axes = figure.add_subplot()
    values = displacement_norm[np.isfinite(displacement_norm)]
    counts, edges = np.histogram(values, bins=60, range=(0.0, float(values.max(initial=1e-3))))
    axes.stairs(counts, edges, fill=True, color=CORRECTED)
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
    axes.axvspan(threshold, float(edges[-1]), color=CORRECTED, alpha=0.12, linewidth=0)
    axes.axvline(threshold, color=CORRECTED, linewidth=1.8)
    kind = "automatic" if automatic else "as given"
    _name_line(axes, threshold, f"threshold {threshold:.4g}, {kind}", CORRECTED)
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
