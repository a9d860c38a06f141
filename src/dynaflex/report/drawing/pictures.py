"""Pictures of a report, each from arrays to a drawing: slices of the maps, and the molecule coloured by its motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dynaflex.report.drawing.style import (
    DIFFERENCE_COLOURS,
    ERROR_COLOURS,
    INK,
    MOTION_COLOURS,
    WIDTH,
    bare,
    drawn,
    new_figure,
    round_length,
    scale_bar,
    upper_limit,
)
from dynaflex.report.drawing.surface import turned
from dynaflex.shapes import Array, IntArray


@drawn
def draw_slices(rigid: Sequence[Array], corrected: Sequence[Array], pixel_size: float) -> Figure:
    """Three central slices ``(d d)`` of both maps on one grey scale, and their difference on a scale of its own."""
    margin, gap, top, bottom = 0.28, 0.1, 0.3, 0.62
    side = (WIDTH - margin - 2 * gap) / 3
    height = top + 3 * side + 2 * gap + bottom
    figure = Figure(figsize=(WIDTH, height))
    both = np.concatenate([np.ravel(part) for part in (*rigid, *corrected)])
    low, high = np.percentile(both, [0.5, 99.8])
    difference = [second - first for first, second in zip(rigid, corrected, strict=True)]
    swing = upper_limit(np.abs(np.concatenate([np.ravel(part) for part in difference])))
    columns = (
        ("rigid", rigid, "gray", low, high),
        ("corrected", corrected, "gray", low, high),
        ("corrected minus rigid", difference, DIFFERENCE_COLOURS, -swing, swing),
    )
    extent = rigid[0].shape[1] * pixel_size / 2
    for column, (title, images, colours, darkest, brightest) in enumerate(columns):
        left = margin + column * (side + gap)
        for row, (image, plane) in enumerate(zip(images, ("xy", "xz", "yz"), strict=True)):
            up = bottom + (2 - row) * (side + gap)
            axes = figure.add_axes((left / WIDTH, up / height, side / WIDTH, side / height))
            picture = axes.imshow(
                image,
                cmap=colours,
                vmin=darkest,
                vmax=brightest,
                origin="lower",
                extent=(-extent, extent, -extent, extent),
                interpolation="none",
            )
            bare(axes)
            if row == 0:
                axes.set_title(title)
            if column == 0:
                axes.set_ylabel(f"{plane[0]} across, {plane[1]} up", fontsize=8.5)
    bar = figure.add_axes((left / WIDTH, 0.44 / height, side / WIDTH, 0.1 / height))
    figure.colorbar(picture, cax=bar, orientation="horizontal").outline.set_visible(False)
    end = round_length(0.8 * swing)
    bar.set_xticks([-end, 0.0, end])
    bar.set_xlabel("difference of density", labelpad=2)
    below = figure.add_axes((margin / WIDTH, 0, side / WIDTH, side / height))
    below.set(xlim=(-extent, extent), ylim=(-extent, extent))
    bare(below)
    length = round_length(2 * extent / 5)
    level = extent * (2 * 0.48 / side - 1)
    below.plot([-extent, -extent + length], [level, level], color=INK, linewidth=2, solid_capstyle="butt")
    below.text(-extent, level - 0.03 * extent, f"{length:g} Å", va="top", fontsize=8.5)
    return figure


@drawn
def draw_motion(points: Array, rms_displacement: Array, direction: Array, error: Array | None, camera: Array) -> Figure:
    """Where it moves and how sure that is: points ``(n 3)`` by rms displacement and by ``error`` ``(n)``, seen by the
    ``camera`` ``(3 3)`` and from the side.

    Arrows show ``direction`` ``(n 3)``, the principal displacement, to and fro, of the points that move most.
    """
    rows = [("moves by, Å rms", rms_displacement, MOTION_COLOURS)]
    if error is not None:
        rows.append(("half models disagree by, Å rms", error, ERROR_COLOURS))
    center = (points.max(axis=0) + points.min(axis=0)) / 2
    views = [((points - center) @ side.T, direction @ side.T) for side in (camera, turned(camera, 90.0))]
    across, up = 1.1 * np.abs([seen[:, :2] for seen, _ in views]).max(axis=(0, 1)) + 1.0
    slender = bool(up > 1.3 * across)
    shape = (1, 2 * len(rows)) if slender else (len(rows), 2)
    figure = new_figure(min(0.9 + WIDTH / shape[1] * up / across, 4.8) * shape[0])
    panels = figure.subplots(*shape).reshape(len(rows), 2)
    limit = max(upper_limit(values) for _, values, _ in rows)
    shown, factor = _arrows(points, rms_displacement, direction, max(across, up))
    for line, (title, values, colours) in enumerate(rows):
        for axes, (seen, moves), view in zip(panels[line], views, ("across the motion", "turned by 90°"), strict=True):
            order = np.argsort(seen[:, 2])
            picture = axes.scatter(
                *seen[order, :2].T,
                c=values[order],
                s=max(3.0, min(22.0, 12000.0 / len(points))),
                cmap=colours,
                vmin=0,
                vmax=limit,
                linewidths=0,
                rasterized=True,
            )
            axes.set(xlim=(-across, across), ylim=(-up, up), aspect="equal")
            axes.set_title(view, loc="center")
            bare(axes)
            if line == 0:
                # Which end of a principal axis is its positive one means nothing: the motion goes both ways.
                for way in (factor, -factor):
                    axes.quiver(
                        *seen[shown, :2].T,
                        *(way * moves[shown, :2]).T,
                        angles="xy",
                        scale_units="xy",
                        scale=1,
                        width=0.0035 * (2.0 if slender else 1.0),
                        color=INK,
                    )
        if line == 0 and len(shown):
            title += "; arrows to scale" if factor == 1 else f"; arrows {factor:g} times longer"
        place = {"location": "bottom"} if slender else {"location": "right", "shrink": 0.75}
        figure.colorbar(picture, ax=panels[line], aspect=24, label=title, **place).outline.set_visible(False)
    scale_bar(panels[0, 0], 2 * across)
    return figure


def _arrows(points: Array, rms: Array, direction: Array, reach: float) -> tuple[IntArray, float]:
    """Which points get an arrow, spread out over those that move much, and how much longer it is drawn."""
    length = np.linalg.norm(direction, axis=1)
    movers = np.flatnonzero((rms >= 0.5 * upper_limit(rms)) & np.isfinite(length) & (length > 0))
    movers = movers[np.argsort(-rms[movers])]
    shown: list[int] = []
    for candidate in movers:
        if all(np.linalg.norm(points[candidate] - points[other]) > 0.14 * reach for other in shown):
            shown.append(int(candidate))
    if not shown:
        return np.empty(0, dtype=np.int64), 1.0
    factor = 0.25 * reach / float(np.max(length[shown]))
    return np.array(shown, dtype=np.int64), round_length(factor) if factor > 1 else 1.0
