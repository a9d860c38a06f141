"""How figures look: one typeface, few colours that colour-blind readers can tell apart, no boxes around data.

Figures are transparent and every neutral line and letter has the colour ``INK``, so that a page can recolour it for a
dark background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from dynaflex.io import durable
from dynaflex.palettes import FROM_PARTICLES, HALVES, SCALES
from dynaflex.shapes import Array

INK = "#24292f"
HALF = {0: FROM_PARTICLES, **HALVES}  # 0 stands for all particles together

# Grey means nothing and stays visible on white and on black; lightness falls steadily towards the strong end.
MOTION_COLOURS = LinearSegmentedColormap.from_list("motion", SCALES["motion"])
ERROR_COLOURS = LinearSegmentedColormap.from_list("error", SCALES["doubt"])
RESOLUTION_COLOURS = LinearSegmentedColormap.from_list("resolution", SCALES["resolution"])
COUNT_COLOURS = {
    1: LinearSegmentedColormap.from_list("count1", ["#a9c9e6", "#2f7fc1", "#15466f"]),
    2: LinearSegmentedColormap.from_list("count2", ["#ecc99c", "#d07b1f", "#7d430a"]),
}
DIFFERENCE_COLOURS = "PuOr_r"

WIDTH = 8.2  # inches: at the 900 px of a page, 9 pt letters are 13.5 px tall

FILES = (".png", ".pdf")
"""How the files of a figure end."""
PAGE_DPI, FILE_DPI = 150, 200
"""Pixels per inch of what is a picture inside a figure: on the page, where every byte counts, and in files."""

_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "dynaflex",
}

_P = ParamSpec("_P")


@dataclass(frozen=True)
class Drawing:
    """A figure that goes into a page and into files; equal figures give equal bytes."""

    figure: Figure

    def svg(self) -> bytes:
        """For a page, which gives it its background and its ink."""
        with matplotlib.rc_context(_RC):
            stream = BytesIO()
            self.figure.savefig(stream, format="svg", dpi=PAGE_DPI, metadata={"Date": None, "Creator": None})
        return stream.getvalue()

    def write(self, path: Path) -> None:
        """Write it on white as PNG and as PDF; the endings are added to ``path``.

        Raises:
            EnvironmentFault, ResourceError: a file cannot be written.
        """
        with matplotlib.rc_context(_RC):
            for ending, metadata in zip(FILES, ({"Software": None}, {"CreationDate": None}), strict=True):
                stream = BytesIO()
                self.figure.savefig(stream, format=ending[1:], dpi=FILE_DPI, facecolor="white", metadata=metadata)
                durable.write_bytes(path.with_name(path.name + ending), stream.getvalue())


def drawn(build: Callable[_P, Figure]) -> Callable[_P, Drawing]:
    """Let a function build its figure in the style of the report."""

    @wraps(build)
    def draw(*args: _P.args, **kwargs: _P.kwargs) -> Drawing:
        with matplotlib.rc_context(_RC):
            return Drawing(build(*args, **kwargs))

    return draw


def on_white() -> Any:
    """The settings of matplotlib for figures that leave the page."""
    return {**_RC, "figure.facecolor": "white", "savefig.facecolor": "white"}


def new_figure(height: float) -> Figure:
    """An empty figure as wide as the page and ``height`` inches tall."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def bare(axes: Axes) -> None:
    """Take away ticks and frame: for pictures."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def note(axes: Axes, text: str) -> None:
    """Say in place why there is nothing to see."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", alpha=0.6)


def scale_bar(axes: Axes, extent: float) -> None:
    """A bar of a round length, about a fifth of ``extent`` Å, in the lower left corner of a picture in Å."""
    length = round_length(extent / 5)
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.plot([left, left + length], [bottom, bottom], color=INK, linewidth=2, solid_capstyle="butt", clip_on=False)
    axes.text(left + length / 2, bottom + 0.02 * extent, f"{length:g} Å", ha="center", va="bottom", fontsize=8.5)


def round_length(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that does not exceed ``value``."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-9)))
    return float(max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9)))


def upper_limit(values: Array) -> float:
    """A colour limit that a few outliers do not set: the 99th percentile, never zero."""
    finite = values[np.isfinite(values)]
    return float(max(np.percentile(finite, 99), 1e-6)) if len(finite) else 1.0


def motion_scale(values: Array) -> ScalarMappable:
    """The colours of distances moved, from 0 to the limit of ``values``, in Å."""
    return ScalarMappable(Normalize(0.0, upper_limit(values)), MOTION_COLOURS)
