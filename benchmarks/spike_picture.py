"""The spike before and after: shaded surfaces coloured by body, and slices through the moving domains."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from bodies import BodyScene
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from scipy.spatial import cKDTree
from spike_scene import BODIES

from dynaflex.report.drawing.style import INK
from dynaflex.report.drawing.surface import draw_surface, isosurface, view_from
from dynaflex.shapes import Array, FloatArray

COLOURS = {"RBD_A": "#c8502d", "RBD_B": "#2f7fc1", "RBD_C": "#e0a63a"}
REST = "#b4bcc5"
VOLUME_OF_A_BEAD = 135.0
"""Å³ that a residue takes in a protein: every map is contoured so that it encloses the volume of the spike."""
VIEWS = (("side", view_from(20.0, 10.0)), ("top", view_from(20.0, 75.0)))
REACH = 92.0
"""Å shown to each side of the centre of the box."""


def draw_before_and_after(path: Path, scene: BodyScene, state: Array, rigid: FloatArray, corrected: FloatArray) -> None:
    """Write a picture with a column per map: rigid, corrected, and the truth in the conformation of the latter."""
    truth = scene.volume(state).numpy()
    columns = (("rigid", rigid), ("3DFlex", corrected), ("truth, same conformation", truth))
    mask = scene.mask(None, None).numpy()
    figure, panels = plt.subplots(3, 3, figsize=(9.6, 9.9), layout="constrained", facecolor="white")
    for column, (title, volume) in enumerate(columns):
        panels[0, column].set_title(title, fontsize=13, color=INK)
        for row, (name, camera) in enumerate(VIEWS):
            panels[row, column].imshow(_surface(scene, state, volume * mask, camera))
            _label(panels[row, column], name if column == 0 else "")
        _slice(panels[2, column], scene, volume)
        _label(panels[2, column], "slice" if column == 0 else "")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _surface(scene: BodyScene, state: Array, volume: FloatArray, camera: Array) -> Array:
    """The surface that encloses as much as the spike takes, each place in the colour of the nearest body."""
    pixel = scene.grid.pixel_size
    enclosed = round(len(scene.points) * VOLUME_OF_A_BEAD / pixel**3)
    level = float(np.partition(volume.ravel(), -enclosed)[-enclosed])
    surface = isosurface(volume, level, pixel)
    nearest = cKDTree(scene.beads(state[None])[0]).query(surface.vertices)[1]
    palette = np.array([to_rgb(COLOURS.get(name, REST)) for name in BODIES])
    return draw_surface(surface, palette[scene.domain[nearest]], camera, np.zeros(3), REACH, 520)


def _slice(axes: Axes, scene: BodyScene, volume: FloatArray) -> None:
    """The plane across the three-fold axis at the height of the receptor-binding domains, three voxels thick."""
    rbd = np.isin(scene.domain, [part.index for part in scene.moving])
    height = round(scene.points[rbd, 2].mean() / scene.grid.pixel_size) + scene.grid.center
    plane = volume[height - 1 : height + 2].mean(axis=0)
    edge = (scene.grid.center + 0.5) * scene.grid.pixel_size
    extent = (-edge, scene.grid.width - edge, -edge, scene.grid.width - edge)
    axes.imshow(plane, cmap="gray", origin="lower", extent=extent, vmin=0.0, vmax=np.quantile(plane, 0.999))
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))


def _label(axes: Axes, text: str) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_ylabel(text, fontsize=12, color=INK)
