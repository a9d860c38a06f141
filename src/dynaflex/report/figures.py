"""Curves and distributions of a report, each from arrays to SVG bytes. Lengths in Å, frequencies in 1/Å."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dynaflex.report.style import (
    ACCENT,
    COUNT_COLOURS,
    DEFORMED,
    HALF,
    INK,
    RIGID,
    bare,
    drawn,
    new_figure,
    note,
)
from dynaflex.shapes import Array, IntArray

Curves = Mapping[str, ArrayLike]

_RESOLUTIONS = (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.7, 2.5, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1)
_MANY_PARTICLES = 4000


@drawn
def draw_fsc(deformed: Mapping[str, Any], rigid: Mapping[str, Any] | None, claim_limit: float | None) -> Figure:
    """FSC of the two half-maps, corrected for deformation and rigid, with ``claim_limit`` (R0, Å) shaded.

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
    for _, curves, colour in sets:
        _mark_resolution(axes, (curves.get("resolution") or {}).get("0.143"), colour)
    _frame_fsc(axes, float(_array(deformed["frequency"])[-1]))
    _name_thresholds(axes)
    if claim_limit:
        _shade_shared(axes, claim_limit)
    figure.legend(loc="outside upper left", ncols=3)
    return figure


@drawn
def draw_model_fsc(halves: Mapping[str, Curves]) -> Figure:
    """FSC of each half's Gaussian model to the ``consensus`` map and to the ``final`` map, ``(s)`` each."""
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
def draw_latents(mean: Array, half: IntArray) -> Figure:
    """The latent means ``(p k)`` in the plane of their two largest principal components, a panel per ``half`` ``(p)``.

    The latent spaces of the halves are independent of each other, and so are their components.
    """
    figure = new_figure(3.9)
    panels = figure.subplots(1, 2)
    for axes, number in zip(panels, (1, 2), strict=True):
        axes.set_title(f"half {number}")
        latents = mean[half == number]
        latents = latents[np.isfinite(latents).all(axis=1)]
        if len(latents) < 3:
            note(axes, "no latents of this half")
            bare(axes)
            continue
        scores, share = _principal_components(latents)
        if scores.shape[1] == 1:
            axes.stairs(*np.histogram(scores[:, 0], bins=60), fill=True, color=HALF[number])
            axes.set(xlabel="the only latent coordinate", ylabel="particles")
            continue
        _draw_density(axes, scores[:, 0], scores[:, 1], number)
        axes.locator_params(nbins=5)
        axes.set_xlabel(f"first component, {share[0]:.0%} of the variance")
        axes.set_ylabel(f"second component, {share[1]:.0%}")
        axes.set_aspect("equal", adjustable="datalim")
    return figure


@drawn
def draw_training(records: Sequence[Mapping[str, object]]) -> Figure:
    """Losses, geometry, weight of the geometry and displacement by epoch, from the lines of ``metrics.jsonl``."""
    figure = new_figure(4.9)
    panels = figure.subplots(2, 2, sharex=True)
    held_out = np.isfinite(_column(records, "held_out_loss")).any()
    contents = (
        ("data loss" + (", held out dashed" if held_out else ""), ("data_loss", "held_out_loss")),
        ("geometry", ("geometry",)),
        ("weight of the geometry, λ", ("lambda",)),
        ("rms displacement, Å", ("rms_displacement",)),
    )
    for axes, (title, keys) in zip(panels.flat, contents, strict=True):
        axes.set_title(title)
        axes.grid(axis="y")
        for half in (1, 2):
            lines = [record for record in records if record.get("half") == half]
            epoch = _column(lines, "epoch")
            for key, style in zip(keys, ("-", "--"), strict=False):
                values = _column(lines, key)
                if np.isfinite(values).any():
                    label = f"half {half}" if style == "-" else None
                    axes.plot(epoch, values, color=HALF[half], linestyle=style, linewidth=1.5, label=label)
        if axes.has_data():
            _shade_phases(axes, [record for record in records if record.get("half") == 1])
        else:
            note(axes, "not in metrics.jsonl")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    if panels[0, 0].get_legend_handles_labels()[0]:
        panels[0, 0].legend(loc="upper right")
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


def _column(lines: Sequence[Mapping[str, object]], key: str) -> Array:
    """One value per line, NaN where it is missing or null."""
    values = (line.get(key) for line in lines)
    return np.array([value if isinstance(value, int | float) else np.nan for value in values], dtype=np.float64)


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


def _mark_resolution(axes: Axes, resolution: float | None, colour: str) -> None:
    """A dot and a number where a curve falls below 0.143."""
    if resolution is None:
        return
    axes.plot(1 / resolution, 0.143, "o", color=colour, markersize=6, zorder=5)
    axes.annotate(
        f"{resolution:.2f} Å",
        (1 / resolution, 0.143),
        xytext=(-7, -5),
        textcoords="offset points",
        ha="right",
        va="top",
        color=colour,
        fontweight="bold",
    )


def _shade_shared(axes: Axes, claim_limit: float) -> None:
    """The band inside R0, where the halves had a common start."""
    axes.axvspan(0.0, 1.0 / claim_limit, color=INK, alpha=0.08, linewidth=0)
    wide = 1.0 / claim_limit > 0.2 * axes.get_xlim()[1]
    axes.annotate(
        f"inside {claim_limit:g} Å:\nshared, no claim" if wide else f"inside {claim_limit:g} Å: shared, no claim",
        (0.5 / claim_limit, 0.57),
        rotation=0 if wide else 90,
        ha="center",
        va="bottom" if wide else "center",
        fontsize=8.5,
        alpha=0.8,
    )


def _shade_phases(axes: Axes, records: Sequence[Mapping[str, object]]) -> None:
    """Grey bands where only the Gaussians were trained: the warm-up and the refreshes of the reference."""
    for record in records:
        epoch = record.get("epoch")
        if record.get("phase") in ("warm-up", "gaussians") and isinstance(epoch, int | float):
            axes.axvspan(epoch - 0.5, epoch + 0.5, color=INK, alpha=0.07, linewidth=0)


def _principal_components(latents: Array) -> tuple[Array, Array]:
    """Scores ``(p 2)``, or ``(p 1)`` where k is 1, and the share of the variance of each component."""
    centred = latents - latents.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(values)[::-1]
    share = values[order] / max(float(values.sum()), 1e-30)
    return centred @ vectors[:, order[:2]], share


def _draw_density(axes: Axes, x: Array, y: Array, half: int) -> None:
    if len(x) > _MANY_PARTICLES:
        picture = axes.hexbin(
            x, y, gridsize=60, bins="log", mincnt=1, cmap=COUNT_COLOURS[half], linewidths=0.1, rasterized=True
        )
        axes.figure.colorbar(picture, ax=axes, shrink=0.7, aspect=24, label="particles").outline.set_visible(False)
    else:
        axes.scatter(x, y, s=5, color=HALF[half], alpha=0.45, linewidths=0, rasterized=True)
