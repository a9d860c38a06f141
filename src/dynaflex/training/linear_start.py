"""Latents to start from: the linear components of a half's own images."""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.config import RunConfig
from dynaflex.latents.subspace import coarse_grid, fit_subspace, linear_latents, straight_coordinates, without_the_rest
from dynaflex.prepare.half import HalfSet, keyed_generator
from dynaflex.prepare.inputs import Inputs
from dynaflex.shapes import Tensor

_AT_ONCE = 128
_SPARE_COMPONENTS = 2
_STREAM_SUBSPACE = 5
_UNIT = 0.5
"""The weight above which a voxel is the asymmetric unit's."""


def linear_start(inputs: Inputs, data: HalfSet, config: RunConfig, count: int) -> Tensor:
    """The ``count`` strongest coordinates ``(p count)``, of unit variance, of a half's images at the shared resolution.

    All images are kept at that resolution: a few kB each. Of a symmetric assembly one unit has components, and the
    others are taken off.
    """
    grid = coarse_grid(data.grid, config.shared_resolution)
    mask = fourier.resize(inputs.mask, grid.box, 3).clamp(0.0, 1.0).to(data.device)
    batches = [data.batch(part).coarse(grid) for part in torch.arange(len(data)).split(_AT_ONCE)]
    if inputs.unit is not None:
        unit = fourier.resize(inputs.unit, grid.box, 3).clamp(0.0, 1.0).to(data.device)
        batches = without_the_rest(batches, mask, unit, grid)
        mask = mask * (unit > _UNIT)
    generator = keyed_generator(config.seed, data.half, _STREAM_SUBSPACE)
    task = f"first latents of {data.whose}"
    subspace = fit_subspace(lambda: batches, mask, grid, count + _SPARE_COMPONENTS, generator, task=task)
    return straight_coordinates(linear_latents(subspace, lambda: batches).cpu(), subspace.variance.cpu(), count)
