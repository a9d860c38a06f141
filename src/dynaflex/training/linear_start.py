"""Latents to start from: the linear components of a half's own images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch

from dynaflex import fourier, ranks
from dynaflex.config import RunConfig
from dynaflex.imaging.batch import Batch
from dynaflex.latents.subspace import beside, coarse_grid, fit_subspace, linear_latents, straight_coordinates
from dynaflex.prepare.half import HalfSet, keyed_generator
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.memory import in_smaller_batches
from dynaflex.shapes import Tensor
from dynaflex.symmetry.asymmetric_unit import OF_UNIT

_AT_ONCE = 128
MOST = 20_000
"""Particles that the components are found from: they are a start, and more would only begin a little nearer."""
_SPARE_COMPONENTS = 2
_STREAM_SUBSPACE = 5


def linear_start(inputs: Inputs, data: HalfSet, config: RunConfig, count: int) -> Tensor:
    """The ``count`` strongest coordinates ``(p count)``, of unit variance, of a half's images at the shared resolution.

    The images that the components are found from are kept at that resolution, a few kB each; those of large halves are
    some of all, evenly. Of a symmetric assembly one unit has components, and the others are taken off.
    """
    found = partial(_linear_start, inputs, data, config, count)
    # Ranks exchange sums on the way, and none can begin again alone.
    return in_smaller_batches(found, _AT_ONCE) if ranks.size() == 1 else found(_AT_ONCE)


def _linear_start(inputs: Inputs, data: HalfSet, config: RunConfig, count: int, size: int) -> Tensor:
    grid = coarse_grid(data.grid, config.shared_resolution)
    mask = inputs.mask_on(grid).to(data.device)
    everyone = torch.arange(len(data))
    some = everyone[data.series(everyone).images_of(torch.arange(0, data.count(everyone), -(-len(data) // MOST)))]
    batches = [data.batch(part).coarse(grid) for part in data.parts(ranks.share(some), size)]
    without_the_rest: Callable[[Batch], Batch] = lambda batch: batch  # noqa: E731
    if inputs.unit is not None:
        unit = fourier.resize(inputs.unit, grid.box, 3).clamp(0.0, 1.0).to(data.device)
        without_the_rest = beside(batches, mask, unit, grid)
        mask = mask * (unit > OF_UNIT)
    batches = [without_the_rest(batch) for batch in batches]
    generator = keyed_generator(config.seed, data.half, _STREAM_SUBSPACE)
    task = f"first latents of {data.whose}"
    subspace = fit_subspace(lambda: batches, mask, grid, count + _SPARE_COMPONENTS, generator, task=task)

    def of(mine: Tensor) -> Iterable[Batch]:
        if len(data) <= MOST:
            return batches
        return (without_the_rest(data.batch(part).coarse(grid)) for part in data.parts(mine, size))

    return straight_coordinates(linear_latents(subspace, everyone, of).cpu(), subspace.variance.cpu(), count)
