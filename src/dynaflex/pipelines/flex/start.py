"""Where the latents of a half begin: at zero, where a file says, or at the linear components of its own images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from dynaflex import fourier
from dynaflex.errors import InputError
from dynaflex.io.latent_file import read_latents, standardised
from dynaflex.latents.subspace import (
    CoarseImages,
    coarse_grid,
    coarse_images,
    fit_subspace,
    linear_latents,
    straight_coordinates,
)
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.half import HalfSet, keyed_generator
from dynaflex.pipelines.inputs import Inputs
from dynaflex.shapes import Tensor

_AT_ONCE = 64
_SPARE_COMPONENTS = 2
_STREAM_SUBSPACE = 5


def initial_latents(inputs: Inputs, data: HalfSet, config: FlexConfig) -> Callable[[], Tensor] | None:
    """What finds the latents ``(p k)`` that a half's training starts from; None where it starts from zero."""
    if inputs.paths.latents is not None:
        rows = torch.from_numpy(data.particles.rows)
        return lambda: given_latents(inputs, config)[rows]
    return partial(_linear, inputs, data, config) if config.start == "subspace" else None


def given_latents(inputs: Inputs, config: FlexConfig) -> Tensor:
    """The first k columns of the user's file, scaled to unit variance, one row for each of the input table.

    Raises:
        InputError: it cannot be read, or has fewer columns.
    """
    path, particles = inputs.paths.latents, inputs.particles
    assert path is not None
    latents = read_latents(path, len(particles) + len(particles.excluded))
    if latents.shape[1] < config.latent_dim:
        raise InputError(
            "latents.few",
            "these latents have too few coordinates",
            file=path,
            expected=f"at least {config.latent_dim}, as --latent-dim says",
            found=latents.shape[1],
            fix=f"--latent-dim {latents.shape[1]}",
        )
    return standardised(latents[:, : config.latent_dim])


def _linear(inputs: Inputs, data: HalfSet, config: FlexConfig) -> Tensor:
    """The strongest coordinates of a linear subspace of the half's own images, at the shared resolution."""
    grid = coarse_grid(data.grid, config.shared_resolution)
    mask = fourier.resize(inputs.mask, grid.box, 3).clamp(0.0, 1.0).to(data.device)

    def batches() -> Iterator[CoarseImages]:
        for part in torch.arange(len(data)).split(_AT_ONCE):
            batch = data.batch(part, torch.zeros(len(part), config.latent_dim))
            yield coarse_images(batch.coefficients, batch.ctf, batch.pose, grid)

    generator = keyed_generator(config.seed, data.half, _STREAM_SUBSPACE)
    subspace = fit_subspace(batches, mask, grid, config.latent_dim + _SPARE_COMPONENTS, generator)
    return straight_coordinates(linear_latents(subspace, batches).cpu(), subspace.variance.cpu(), config.latent_dim)
