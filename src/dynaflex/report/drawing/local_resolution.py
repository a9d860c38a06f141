"""How sharp the map is from place to place: its contour coloured by local resolution, and a histogram."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.ndimage import distance_transform_edt

from dynaflex.palettes import ACCENT
from dynaflex.report.drawing.style import RESOLUTION_COLOURS, bare, drawn, new_figure, scale_bar
from dynaflex.report.drawing.surface import Surface, draw_surface, turned, values_at
from dynaflex.shapes import Array, FloatArray

_PIXELS = 360
_BINS = 40


@drawn
def draw_local_resolution(
    surface: Surface, local: FloatArray, pixel_size: float, inside: Array, camera: Array
) -> Figure:
    """A ``surface`` coloured by the ``local`` resolution ``[z, y, x]`` in Å, 0 where it is not known, seen by the
    ``camera`` ``(3 3)`` and from the side; and the histogram of the values ``inside`` ``(n)``."""
    values = values_at(surface, without_gaps(local), pixel_size)
    colours = ScalarMappable(Normalize(*np.percentile(inside, (2, 95))), RESOLUTION_COLOURS)
    center = (surface.vertices.max(axis=0) + surface.vertices.min(axis=0)) / 2
    cameras = (camera, turned(camera, 90.0))
    seen = np.stack([np.abs((surface.vertices - center) @ side[:2].T).max(axis=0) for side in cameras])
    across, up = 1.05 * seen.max(axis=0)
    reach = float(max(across, up))
    figure = new_figure(min(max(2.5 * up / across, 2.6), 4.2))
    first, second, counts = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    for axes, side, view in ((first, cameras[0], "across the motion"), (second, cameras[1], "turned by 90°")):
        picture = draw_surface(surface, colours.to_rgba(values)[:, :3], side, center, reach, _PIXELS)
        axes.imshow(picture, extent=(-reach, reach, -reach, reach))
        axes.set(xlim=(-across, across), ylim=(-up, up))
        axes.set_title(view, loc="center")
        bare(axes)
    scale_bar(first, 2 * float(across))
    _draw_histogram(counts, inside, colours)
    return figure


def without_gaps(local: FloatArray) -> FloatArray:
    """The volume ``[z, y, x]`` with the nearest value in place of each 0, which stands for none."""
    nearest = distance_transform_edt(local <= 0, return_distances=False, return_indices=True)
    return np.asarray(local[tuple(nearest)])


def _draw_histogram(axes: Axes, values: Array, colours: ScalarMappable) -> None:
    counts, edges = np.histogram(values, bins=_BINS, range=tuple(np.percentile(values, (0, 99.5))))
    middles = 0.5 * (edges[1:] + edges[:-1])
    axes.bar(middles, 100.0 * counts / len(values), width=np.diff(edges), color=colours.to_rgba(middles))
    middle = float(np.median(values))
    axes.axvline(middle, color=ACCENT, linewidth=1.2)
    axes.set_title(f"median {middle:.2f} Å", loc="center", color=ACCENT)
    axes.set(xlabel="local resolution, Å", ylabel="% of the voxels inside")
