"""The latents of particles wherever they are: from the likeliest of many conformations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from dynaflex import tell
from dynaflex.imaging.batch import Batch
from dynaflex.inference.energy import energies_at, energy_of
from dynaflex.inference.integral import on_the_mean
from dynaflex.inference.newton import infer
from dynaflex.latents.posterior import Normal
from dynaflex.latents.prior import GAUSSIAN, LatentPrior
from dynaflex.model import FlexModel
from dynaflex.series import ALONE, Series
from dynaflex.shapes import Tensor

FROM_TRAINED, FROM_BEST, FROM_NOTHING = 2, 3, 6
"""Steps of Gauss-Newton from where training has left a latent, from the best of several, and from nothing."""


@torch.no_grad()
def best_start(
    model: FlexModel,
    batch: Batch,
    weights: Tensor,
    candidates: Tensor,
    prior: LatentPrior = GAUSSIAN,
    here: Tensor | None = None,
) -> Tensor:
    """For every particle, the latent with the lowest energy, ``(b k)``: of the ``candidates`` ``(m k)``, and of where
    it stands, ``here`` ``(b k)``.

    An image that moves by more than it is sharp has several minima, and a latent that came to one never leaves it by
    small steps.
    """
    energies = [
        batch.series.each(energies_at(model, batch, weights, points, of_prior))
        for points, of_prior in zip(model.deformed(candidates), prior.energy(candidates), strict=True)
    ]
    starts = candidates[:, None].expand(-1, len(batch.index), -1)
    if here is not None:
        starts = torch.cat([here[None], starts])
        energies = [energy_of(model, batch, weights, here, prior), *energies]
    # What is no number would be the lowest.
    which = torch.stack(energies).nan_to_num(nan=math.inf).argmin(dim=0)
    return starts[which, torch.arange(len(which), device=which.device)]


def find_latents(
    model: FlexModel,
    batches: Callable[[Tensor], Batch],
    index: Tensor,
    weights: Tensor,
    start: Tensor | None,
    candidates: Tensor,
    size: int = 64,
    prior: LatentPrior = GAUSSIAN,
    task: str = "latents",
    series: Series = ALONE,
) -> Normal:
    """Posterior of the particles ``index`` ``(p)``, from the best of ``candidates`` and of their ``start`` ``(p k)``.

    It is that of :func:`on_the_mean`, which errs less than the likeliest latents do. ``task`` is what a person is told
    about it, ``series`` which of them are images of one.
    """
    parts = []
    for part in tell.each(series.parts(len(index), size), task):
        batch = batches(index[part])
        here = None if start is None else start[part].to(weights.device)
        origin = best_start(model, batch, weights, candidates, prior, here)
        likeliest = infer(model, batch, weights, origin, FROM_NOTHING if here is None else FROM_BEST, prior)
        parts.append(on_the_mean(model, batch, weights, likeliest, prior))
    mean, log_scale, covariance = (
        torch.cat([getattr(part, name) for part in parts]).cpu() for name in ("mean", "log_scale", "covariance")
    )
    return Normal(mean, log_scale, covariance)
