"""The maps of a run: corrected and rigid half-maps, the merged map, and every FSC."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from dynaflex import fourier
from dynaflex.analyze.domains import moving_part
from dynaflex.grid import Grid
from dynaflex.io.mrc import write_map
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.place import place_of
from dynaflex.results.half_maps.judged import around_points, claim_limit, judged
from dynaflex.results.half_maps.made import AS_USUAL, HalfMaps, Recipe, make_half_maps
from dynaflex.results.trained import config_of
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC, read_motion
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation
from dynaflex.workers.halves import Each, in_turn


def reconstruct_run(
    run: Run, inputs: Inputs, device: torch.device, each: Each = in_turn, recipe: Recipe = AS_USUAL
) -> None:
    """Half-maps with and without the deformation, the merged map and the FSCs, into ``maps/`` and the JSON files.

    Those of the halves are made by ``each``. ``fsc.json`` comes last: a run that has it has all its maps.

    Raises:
        UsageError: the maps cannot be made so; see :meth:`Recipe.imaging`. Then all files are as they were.
    """
    imaging = recipe.imaging(run, inputs)
    grid = imaging.grid
    run.files.forget(FSC)
    mask = inputs.mask_on(grid)
    made = make_half_maps(run, inputs, imaging, mask, device, each, recipe)
    for name, volume in {**made.named(), "mask": mask}.items():
        write_volume(run, name, volume, grid)
    found = judged(made, _moving_part(run, grid), claim_limit(run, inputs), recipe.b_factor)
    for name, volume in found.maps.items():
        write_volume(run, name, volume, grid)
    _compare_models(run, inputs, made)
    _map_of_errors(run, grid)
    run.write_json(FSC, found.fsc)


def _compare_models(run: Run, inputs: Inputs, made: HalfMaps) -> None:
    """FSC of each half's trained density to the consensus it started from and to the final half-map."""
    curves: dict[str, Any] = {}
    full, resolution = inputs.full_imaging.grid, config_of(run).shared_resolution
    starts = {half: fourier.low_pass(volume, full, resolution) for half, volume in inputs.consensus.items()}
    for half, model in made.model.items():
        write_volume(run, f"model_half{half}", model, made.grid)
        start = fourier.resize(starts[half], made.grid.box, 3)
        curves[f"half{half}"] = {
            "frequency": made.grid.shell_frequencies().tolist(),
            "consensus": fourier_shell_correlation(model, start).tolist(),
            "final": fourier_shell_correlation(model, made.corrected[half]).tolist(),
        }
    run.write_json("model_fsc.json", curves)


def _moving_part(run: Run, grid: Grid) -> Tensor | None:
    """A soft mask around the points of the part that moves; None where nothing does."""
    motion = read_motion(run)
    moves = moving_part(motion.rms_displacement)
    return around_points(motion.points[moves], grid) if moves.any() else None


def _map_of_errors(run: Run, grid: Grid, reach: float = 10.0) -> None:
    """``deformation_error.mrc``: the error in Å of the nearest Gaussian, for voxels within ``reach`` Å of one."""
    motion = read_motion(run)
    distance, nearest = cKDTree(motion.points).query(grid.points().numpy(), distance_upper_bound=reach)
    error = np.append(motion.error, np.float32(0.0))[np.where(np.isfinite(distance), nearest, len(motion.error))]
    write_volume(run, "deformation_error", torch.from_numpy(error).view((grid.box,) * 3), grid)


def write_volume(run: Run, name: str, volume: Tensor, grid: Grid) -> None:
    """Write a map of the run, ``map`` as ``maps/map.mrc``."""
    with run.files.writing(f"maps/{name}.mrc") as path:
        write_map(path, volume.numpy(), grid.pixel_size, place_of(run, grid))
