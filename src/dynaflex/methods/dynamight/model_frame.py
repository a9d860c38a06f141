"""Whether an atomic model lies where the map is."""

from __future__ import annotations

from pathlib import Path

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

_INSIDE = 0.25


def require_on_map(path: Path, points: Tensor, mask: Tensor, grid: Grid) -> None:
    """A model in another frame than the map has few atoms, if any, where the density is.

    ``points`` ``(n 3)`` are its pseudo-atoms in the frame of the box, Å; ``mask`` ``(d d d)`` is 1 on the molecule.

    Raises:
        InputError: less than a quarter of the model lies in the mask.
    """
    voxel = grid.nearest(points)
    in_box = ((voxel >= 0) & (voxel < grid.box)).all(dim=1)
    x, y, z = voxel[in_box].unbind(dim=1)
    inside = int((mask[z, y, x] > 0.5).sum())
    if inside < _INSIDE * len(points):
        lowest, highest = points.amin(dim=0).tolist(), points.amax(dim=0).tolist()
        z, y, x = (mask > 0.5).nonzero().unbind(dim=1)
        molecule = [((axis.float() - grid.center) * grid.pixel_size) for axis in (x, y, z)]
        raise InputError(
            "atoms.off-map",
            f"only {inside} of {len(points)} pseudo-atoms lie in the density",
            file=path,
            expected=f"a model within {_extent([(float(a.min()), float(a.max())) for a in molecule])}",
            found=_extent(list(zip(lowest, highest, strict=True))),
            fix="fit the model into this map (ChimeraX: fitmap), and save it relative to the map",
        )


def _extent(ranges: list[tuple[float, float]]) -> str:
    axes = ", ".join(f"{name} {low:.0f} to {high:.0f}" for name, (low, high) in zip("xyz", ranges, strict=True))
    return f"{axes} Å from the centre of the box"
