"""What two half-maps say together: the map merged of both, every FSC, and the resolution at each place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from dynaflex import tell
from dynaflex.grid import Grid
from dynaflex.prepare.inputs import Inputs
from dynaflex.reconstruct.postprocess import merge, sharpen, soft_mask
from dynaflex.results.half_maps.made import HalfMaps
from dynaflex.results.trained import config_of
from dynaflex.run.directory import Run
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.validate.docking import dock
from dynaflex.validate.fsc import FscCurves, fsc_curves
from dynaflex.validate.local_resolution import local_resolution

_MOVING_REACH = 5.0


@dataclass(frozen=True)
class Judged:
    """``maps`` ``(d d d)`` by the names of their files: the merged ``map``, ``map_local``, the ``local_resolution``
    and, where something moves, the ``moving_part_mask``; and what ``fsc.json`` holds."""

    maps: dict[str, Tensor]
    fsc: dict[str, Any]


def judged(made: HalfMaps, moving: Tensor | None, limit: float | None, b_factor: float | None = None) -> Judged:
    """Compare the half-maps within their mask and within the part that is ``moving`` ``(d d d)``, and merge them.

    No resolution is quoted that is not finer than ``limit`` Å. A negative ``b_factor`` in Å² sharpens the merged map.
    """
    grid, curves = made.grid, _compared(made, made.mask)
    merged = merge(made.corrected[1], made.corrected[2], curves["deformed"].corrected)
    with tell.doing("local resolution"):
        local = local_resolution(made.corrected[1], made.corrected[2], grid.pixel_size, made.mask)
    maps = {
        "map": merged if b_factor is None else sharpen(merged, grid, b_factor),
        "local_resolution": local.resolution,
        "map_local": local.filtered,
    }
    fsc: dict[str, Any] = {name: curve.as_dict(limit) for name, curve in curves.items()}
    if moving is not None:
        maps["moving_part_mask"] = moving
        part = _compared(made, moving)
        fsc["moving_part"] = {name: curve.as_dict(limit) for name, curve in part.items()}
        fsc |= _docked(made, moving, part["deformed"], limit)
    return Judged(maps, fsc | {"claim_limit": limit})


def claim_limit(run: Run, inputs: Inputs) -> float | None:
    """The resolution in Å inside of which agreement of the half-maps proves nothing, because they had it in common."""
    config = config_of(run)
    if config.half_sets == "shared":
        return 1.0 / inputs.imaging.grid.nyquist
    return None if inputs.independent_starts else config.shared_resolution


def around_points(points: FloatArray, grid: Grid) -> Tensor:
    """A soft mask ``(d d d)`` around points ``(n 3)`` in Å of the part that moves."""
    distance, _ = cKDTree(points).query(grid.points().numpy())
    nearby = torch.from_numpy(-distance.astype(np.float32)).view(grid.box, grid.box, grid.box)
    return soft_mask(nearby, grid, -_MOVING_REACH)


def _docked(made: HalfMaps, moving: Tensor, seen: FscCurves, limit: float | None) -> dict[str, Any]:
    """How far apart the part rests in the two half-maps, and how well it agrees once one is laid over the other."""
    one, other = made.corrected[1], made.corrected[2]
    with tell.doing("docking of the halves"):
        found = dock(one, other, made.grid.pixel_size, moving, seen)
        if found is None:
            return {}
        curves = fsc_curves(found.carried(one, made.grid, moving), other, made.grid.pixel_size, moving)
    return {"docked_part": {**found.as_dict(), "deformed": curves.as_dict(limit)}}


def _compared(made: HalfMaps, where: Tensor) -> dict[str, FscCurves]:
    return {
        name: fsc_curves(maps[1], maps[2], made.grid.pixel_size, where)
        for name, maps in (("deformed", made.corrected), ("rigid", made.rigid), ("combined", made.combined))
        if maps
    }
