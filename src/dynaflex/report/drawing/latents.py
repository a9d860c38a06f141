"""Where the particles lie in latent space, from arrays to a drawing. Latents are in units of the prior's spread."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from dynaflex.analyze.axes import principal_axes
from dynaflex.report.drawing.style import COUNT_COLOURS, HALF, INK, bare, drawn, new_figure, note
from dynaflex.shapes import Array, IntArray

WALL = 1.5
"""Where the wall of the quartic prior stands, 101 nats high."""
_MANY_PARTICLES = 4000


@drawn
def draw_latents(mean: Array, half: IntArray, shared: bool, wall: bool) -> Figure:
    """The latent means ``(p k)`` in the plane of their two largest principal components, a panel per ``half`` ``(p)``.

    The latent spaces of the halves are independent of each other, and so are their components, unless the halves
    ``shared`` one model. Where k is 2, a second row shows the coordinates themselves, with the prior: a ``wall``, or
    circles at one and two standard deviations.
    """
    plain = mean.shape[1] == 2
    figure = new_figure(7.4 if plain else 3.9)
    panels = figure.subplots(2 if plain else 1, 2, squeeze=False)
    finite = np.isfinite(mean).all(axis=1)
    for column, number in enumerate((1, 2)):
        mine = (half == number) & finite
        panels[0, column].set_title(f"half {number}")
        if mine.sum() < 3:
            for axes in panels[:, column]:
                note(axes, "no latents of this half")
                bare(axes)
            continue
        _draw_components(panels[0, column], mean[mine], mean[finite] if shared else mean[mine], number)
        if plain:
            _draw_coordinates(panels[1, column], mean[mine], number, wall)
    return figure


def _draw_components(axes: Axes, latents: Array, everyone: Array, half: int) -> None:
    components = principal_axes(everyone, 2)
    scores, share = components.coordinates(latents), components.share
    if scores.shape[1] == 1:
        axes.stairs(*np.histogram(scores[:, 0], bins=60), fill=True, color=HALF[half])
        axes.set(xlabel="the only latent coordinate", ylabel="particles")
        return
    _draw_density(axes, scores[:, 0], scores[:, 1], half)
    axes.locator_params(nbins=5)
    axes.set_xlabel(f"first component, {share[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {share[1]:.0%}")
    axes.set_aspect("equal", adjustable="datalim")


def _draw_coordinates(axes: Axes, latents: Array, half: int, wall: bool) -> None:
    _draw_density(axes, latents[:, 0], latents[:, 1], half)
    box = Rectangle((-WALL, -WALL), 2 * WALL, 2 * WALL)
    for patch in [box] if wall else [Circle((0.0, 0.0), radius) for radius in (1.0, 2.0)]:
        patch.set(fill=False, edgecolor=INK, linewidth=0.9, alpha=0.55, linestyle=(0, (4, 3)))
        axes.add_patch(patch)
    axes.locator_params(nbins=5)
    axes.set(xlabel="latent coordinate 1", ylabel="latent coordinate 2")
    axes.set_aspect("equal", adjustable="datalim")


def _draw_density(axes: Axes, x: Array, y: Array, half: int) -> None:
    if len(x) > _MANY_PARTICLES:
        picture = axes.hexbin(
            x, y, gridsize=60, bins="log", mincnt=1, cmap=COUNT_COLOURS[half], linewidths=0.1, rasterized=True
        )
        axes.figure.colorbar(picture, ax=axes, shrink=0.7, aspect=24, label="particles").outline.set_visible(False)
    else:
        axes.scatter(x, y, s=5, color=HALF[half], alpha=0.45, linewidths=0, rasterized=True)
