"""Bringing the canonical maps of two halves to one conformation before they are compared."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.pipelines.predict import ALIGNMENT, TrainedHalf, config_of, load_half, method_of
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.score import masked_correlation

_FINEST_PIXEL = 0.4
"""Of the shared resolution: pixels that hold it with some room."""


def align_halves(run: Run) -> None:
    """Find the conformation of half 2 that looks most like the canonical map of half 1, and store it in the run.

    Every half is free to choose its conformation at z = 0; maps of different ones would disagree where they are right.
    The search is over the k latents of half 2 alone, with its own flow, and sees both maps low-passed to the shared
    resolution: too little to carry detail from one half to the other. Nothing is done for a method that has
    aligned its halves while it trained them, nor for one shared model.
    """
    config = config_of(run)
    if method_of(run).rebase is None or config.half_sets == "shared" or (run.path / ALIGNMENT).exists():
        return
    first, second = (load_half(run, half) for half in (1, 2))
    origin = closest_conformation(first, second, config.shared_resolution)
    run.write_json(ALIGNMENT, {"half2": origin.tolist()})


def closest_conformation(first: TrainedHalf, second: TrainedHalf, resolution: float) -> Tensor:
    """The latents ``(k)`` of ``second`` whose map correlates best with that of ``first``, both at ``resolution`` Å."""
    fine = first.model.grid
    grid = fine.cropped(min(fine.box, 2 * round(0.5 * fine.width / (_FINEST_PIXEL * resolution))))
    target, own = (_coarse(half, grid, resolution) for half in (first, second))
    where = (target > 0.1 * target.max()).float()
    moving = CarriedMap(own, grid, second.model.deformation, second.model.density.home())

    def difference(z: Array) -> float:
        return -masked_correlation(moving.at(torch.from_numpy(z).float()), target, where)

    spread = second.latents.mean.std(dim=0).numpy()
    simplex = np.concatenate([np.zeros((1, len(spread))), np.diag(0.3 * spread)])
    found = minimize(
        difference, simplex[0], method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-6}
    )
    return torch.from_numpy(found.x).float()


def _coarse(half: TrainedHalf, grid: Grid, resolution: float) -> Tensor:
    fine = half.model.grid
    return fourier.resize(fourier.low_pass(half.model.density.volume(fine), fine, resolution), grid.box, 3)
