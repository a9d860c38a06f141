"""The figures of an analysis: where the particles lie, the clusters, and what moves along each series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dynaflex.analyze.axes import PrincipalAxes
from dynaflex.analyze.clusters import NOISE
from dynaflex.analyze.domains import camera_across
from dynaflex.palettes import ACCENT, domain_colour
from dynaflex.products.analyse import Analysis, Cluster
from dynaflex.products.names import DENSITY, K_MEANS
from dynaflex.report.drawing.style import (
    COUNT_COLOURS,
    HALF,
    INK,
    MOTION_COLOURS,
    bare,
    drawn,
    new_figure,
    scale_bar,
    upper_limit,
)
from dynaflex.shapes import Array, IntArray

_MANY = 4000
_QUIET = "#c3c9d0"


def write_figures(found: Analysis, out: Path) -> list[str]:
    """Write every figure as PNG and PDF into a folder; their names."""
    out.mkdir(parents=True, exist_ok=True)
    figures = {
        "motion_landscape": draw_landscape,
        "latents": draw_latents,
        "clusters": draw_clusters,
        "domains": draw_domains,
    }
    for name, draw in figures.items():
        draw(found).write(out / name)
    return list(figures)


@drawn
def draw_landscape(found: Analysis) -> Figure:
    """Both halves in the plane of the two main motions, with the series through it, and what share each motion has."""
    figure = new_figure(4.2)
    plane, bars = figure.subplots(1, 2, width_ratios=[3, 2])
    motion = found.space.motion
    _density(plane, motion[:, 0], motion[:, 1], 0)
    for number, series in enumerate(found.series):
        path = found.space.motion_of(found.trained, series.latents)
        colour = ACCENT if series.name == "dense" else INK
        style = "-" if series.name == "dense" else ["--", ":", "-."][number % 3]
        plane.plot(path[:, 0], path[:, 1], style, color=colour, linewidth=1.5, label=series.title)
        plane.plot(path[-1, 0], path[-1, 1], "o", color=colour, markersize=4)
    plane.set(
        title="all particles, both halves; a dot ends each series",
        xlabel=_motion_label(found, 0),
        ylabel=_motion_label(found, 1),
    )
    plane.set_aspect("equal", adjustable="datalim")
    figure.legend(*plane.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    share = found.space.motion_axes.share
    counted = np.arange(1, len(share) + 1)
    bars.bar(counted, 100 * share, color=HALF[0])
    bars.set(title="share of all motion", xlabel="motion component", ylabel="% of the mean square displacement")
    bars.set_xticks(counted)
    return figure


@drawn
def draw_latents(found: Analysis) -> Figure:
    """The latents of each half in the plane of their own two principal components."""
    figure = new_figure(3.9)
    for axes, half in zip(figure.subplots(1, 2), (1, 2), strict=True):
        pca, own = found.space.pca[found.space.half == half], found.space.latent_axes[half]
        if pca.shape[1] == 1:
            axes.stairs(*np.histogram(pca[:, 0], bins=60), fill=True, color=HALF[half])
            axes.set(title=f"half {half}", xlabel=_latent_label(own, 0), ylabel="particles")
            continue
        _density(axes, pca[:, 0], pca[:, 1], half)
        axes.set(title=f"half {half}", xlabel=_latent_label(own, 0), ylabel=_latent_label(own, 1))
        axes.set_aspect("equal", adjustable="datalim")
        if half == found.half:
            for series in found.series:
                path = own.coordinates(series.latents)
                axes.plot(path[:, 0], path[:, 1], color=ACCENT if series.name == "dense" else INK, linewidth=1.2)
    note = "one latent space" if found.space.shared else "each half has a latent space of its own"
    figure.suptitle(f"latents, in units of the prior's standard deviation: {note}", fontsize=9)
    return figure


@drawn
def draw_clusters(found: Analysis) -> Figure:
    """The clusters of both kinds in the plane of the two main motions, each with its representative; UMAP beside."""
    planes = [("motion", found.space.motion[:, :2])] + ([] if found.plane is None else [("UMAP", found.plane)])
    figure = new_figure(4.2 * len(planes))
    panels = figure.subplots(len(planes), 2, squeeze=False)
    titles = {K_MEANS: "compact clusters (k-means)", DENSITY: "dense regions (HDBSCAN)"}
    for row, (name, plane) in zip(panels, planes, strict=True):
        for axes, (kind, label) in zip(row, found.labels.items(), strict=True):
            clusters = [cluster for cluster in found.clusters if cluster.kind == kind]
            _draw_labels(axes, plane, label, clusters, found.space.rows)
            axes.set_title(f"{titles[kind]}: {len(clusters)}")
            if name == "motion":
                axes.set(xlabel=_motion_label(found, 0), ylabel=_motion_label(found, 1))
                axes.set_aspect("equal", adjustable="datalim")
            else:
                axes.set(xlabel="UMAP 1 (no unit)", ylabel="UMAP 2 (no unit)")
    return figure


@drawn
def draw_domains(found: Analysis) -> Figure:
    """The molecule along each series, seen across its motion: by domain above, by distance travelled below."""
    figure = new_figure(6.4)
    panels = figure.subplots(2, len(found.series), squeeze=False)
    travelled = {name: np.linalg.norm(moved[-1] - moved[0], axis=1) for name, moved in found.domains.moved.items()}
    limit = upper_limit(np.concatenate(list(travelled.values())))
    names = [int(name) for name in np.unique(found.domains.label)]
    shown = None
    for (above, below), series in zip(panels.T, found.series, strict=True):
        moved, length = found.domains.moved[series.name], travelled[series.name]
        camera = camera_across(moved)
        start, end = (places @ camera[:2].T for places in (moved[0], moved[-1]))
        for name in names:
            mine = found.domains.label == name
            above.scatter(
                start[mine, 0], start[mine, 1], s=7, color=_colour(name), label=f"domain {name}" if name else "none"
            )
        below.scatter(start[:, 0], start[:, 1], s=3, color=_QUIET)
        far = np.flatnonzero(length >= 0.03 * limit)[:: max(1, len(length) // 250)]
        arrows = (end - start)[far]
        shown = below.quiver(
            *start[far].T, *arrows.T, length[far], angles="xy", scale_units="xy", scale=1.0, width=0.006,
            cmap=MOTION_COLOURS, norm=Normalize(0.0, limit),
        )  # fmt: skip
        both = np.concatenate([start, end])
        for axes in (above, below):
            axes.set(xlim=_limits(both[:, 0]), ylim=_limits(both[:, 1]))
            axes.set_aspect("equal")
            bare(axes)
        above.set_title(series.title, loc="center")
        scale_bar(above, float(np.ptp(both[:, 0])) * 1.16)
    assert shown is not None
    figure.colorbar(shown, ax=panels, shrink=0.5, aspect=24, label="from first to last, Å").outline.set_visible(False)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, markerscale=2)
    return figure


def _draw_labels(axes: Axes, plane: Array, label: IntArray, clusters: list[Cluster], rows: IntArray) -> None:
    drawn = np.random.default_rng(0).permutation(len(plane))[:20_000]
    size = 6 if len(drawn) < _MANY else 2
    colours = np.array([_colour(name) for name in range(int(label.max(initial=0)) + 1)])
    x, y = plane[drawn].T
    axes.scatter(x, y, s=size, c=colours[label[drawn]], linewidths=0, alpha=0.7, rasterized=True)
    for cluster in clusters:
        place = plane[np.searchsorted(rows, cluster.representative_row)]
        axes.annotate(
            f"{cluster.cluster}: {cluster.particles}", (float(place[0]), float(place[1])),
            ha="center", va="center", fontsize=8, color=INK,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "edgecolor": "none"},
        )  # fmt: skip


def _density(axes: Axes, x: Array, y: Array, half: int) -> None:
    """Points where they are few, counts where they would hide each other; half 0 is both."""
    if len(x) <= _MANY:
        axes.scatter(x, y, s=6, color=HALF[half], alpha=0.5, linewidths=0, rasterized=True)
        return
    colours = COUNT_COLOURS.get(half, COUNT_COLOURS[1])
    counts = axes.hexbin(x, y, gridsize=60, bins="log", cmap=colours, mincnt=1, linewidths=0)
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(counts, ax=axes, label="particles", shrink=0.6, format="%g")
    bar.ax.yaxis.set_minor_formatter("{x:g}")
    bar.outline.set_visible(False)


def _colour(name: int) -> str:
    return _QUIET if name == NOISE else domain_colour(name)


def _motion_label(found: Analysis, axis: int) -> str:
    return f"motion component {axis + 1}, rms Å ({found.space.motion_axes.share[axis]:.0%} of the motion)"


def _latent_label(axes: PrincipalAxes, axis: int) -> str:
    return f"latent component {axis + 1} ({axes.share[axis]:.0%} of the variance)"


def _limits(values: Array) -> tuple[float, float]:
    margin = max(0.08 * float(np.ptp(values)), 1.0)
    return float(values.min()) - margin, float(values.max()) + margin
