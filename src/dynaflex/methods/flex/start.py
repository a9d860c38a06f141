"""Where the latents of a half begin: at zero, where a file says, or at the linear components of its own images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from dynaflex.errors import InputError
from dynaflex.io.latent_file import read_latents, standardised
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import Inputs
from dynaflex.shapes import Tensor
from dynaflex.training.linear_start import linear_start


def initial_latents(inputs: Inputs, data: HalfSet, config: FlexConfig) -> Callable[[], Tensor] | None:
    """What finds the latents ``(p k)`` that a half's training starts from; None where it starts from zero."""
    if "latents" in inputs.paths.own:
        rows = torch.from_numpy(data.particles.rows)
        return lambda: given_latents(inputs, config)[rows]
    if config.start == "zero":
        return None
    return partial(linear_start, inputs, data, config, config.latent_dim)


def given_latents(inputs: Inputs, config: FlexConfig) -> Tensor:
    """The first k columns of the user's file, scaled to unit variance, one row for each of the input table.

    Raises:
        InputError: it cannot be read, or has fewer columns.
    """
    path, particles = inputs.paths.own["latents"], inputs.particles
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
