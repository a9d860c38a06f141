"""Laws of the picture of local resolution: a surface has the values of the molecule, not of its surroundings."""

from __future__ import annotations

import re

import numpy as np

from dynaflex.grid import Grid
from dynaflex.report.drawing.local_resolution import draw_local_resolution, without_gaps
from dynaflex.report.drawing.surface import isosurface, values_at


def ball(box: int = 24, pixel_size: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A ball of 14 Å, and a local resolution that is 5 Å on its left and 9 Å on its right, known up to its surface."""
    grid = Grid(box, pixel_size)
    density = (14.0 - grid.radius_of_points()).view(box, box, box).numpy()
    side = np.where(grid.points()[:, 0].view(box, box, box).numpy() < 0, 5.0, 9.0)
    return density.astype(np.float32), np.where(density > 0, side, 0.0).astype(np.float32)


def test_the_surface_has_the_values_inside() -> None:
    density, local = ball()
    surface = isosurface(density, 0.0, 2.0)
    seen = values_at(surface, without_gaps(local), 2.0)
    assert seen.min() == 5.0 and seen.max() == 9.0
    np.testing.assert_array_equal(seen[surface.vertices[:, 0] < -4.0], 5.0)
    np.testing.assert_array_equal(seen[surface.vertices[:, 0] > 4.0], 9.0)
    assert values_at(surface, local, 2.0).min() < 4.0, "else this would not be needed"


def test_the_picture_names_the_median_of_the_voxels_inside() -> None:
    density, local = ball()
    inside = local[local > 0].astype(np.float64)
    picture = draw_local_resolution(isosurface(density, 0.0, 2.0), local, 2.0, inside, np.eye(3)).svg().decode()
    assert f"median {np.median(inside):.2f} Å" in re.sub(r"<[^>]+>", "", picture)
