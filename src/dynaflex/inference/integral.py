"""What images say of all latents together: how likely they are whatever their latents, and what those are on the
mean."""

from __future__ import annotations

import math

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.inference.energy import energy_of, left_by, misfit
from dynaflex.latents.posterior import Normal
from dynaflex.latents.prior import GAUSSIAN, LatentPrior, standard_normal
from dynaflex.model import FlexModel
from dynaflex.shapes import Tensor

_NEAR, _FAR = 24, 8
"""Latents drawn from near the likeliest, and from all over the prior, to find how likely an image is."""
_WIDER = 1.3
"""How much wider than the posterior they are drawn: too wide costs a tenth of the draws, too narrow a coordinate's
tails."""
KNOWN_TO = 0.05
"""Nats to which the mean of :func:`log_evidence` is known: differences below it may be those of the draws."""


@torch.no_grad()
def log_evidence(
    model: FlexModel, batch: Batch, weights: Tensor, found: Normal, prior: LatentPrior = GAUSSIAN
) -> Tensor:
    """The logarithm ``(b)`` of the likelihood of images whatever their latents, up to a constant, by importance.

    What latents fit of the noise counts against them by as much as it makes an image likelier. ``found`` is the
    posterior of these images around their likeliest latents. It alone would underrate a large motion: images are linear
    in it over a few Å only, and beyond, other conformations are likely too.
    """
    _, likely, proposed = _drawn(model, batch, weights, found, prior)
    return (likely - proposed).logsumexp(dim=0) - math.log(len(likely))


@torch.no_grad()
def on_the_mean(
    model: FlexModel, batch: Batch, weights: Tensor, found: Normal, prior: LatentPrior = GAUSSIAN
) -> Normal:
    """The mean of all latents, each as likely as it is, and their spread, by importance from the posterior ``found``.

    It is nearer to the truth than the likeliest latents: the further a part moves the less an image tells of a step, so
    that more latents are likely on the far side, and another conformation may be almost as likely. By as much as the
    draws miss the mean of ``found``, which is known, they are put right: what they miss depends on how much an image
    tells, and latents would follow the contrast. Their spread is too small by as much as their mean is not known: so
    much of it is that of ``found``.
    """
    drawn, likely, proposed = _drawn(model, batch, weights, found, prior)
    share, known = ((each - proposed).softmax(dim=0) for each in (likely, found.log_density(drawn)))
    mean = found.mean + ((share - known)[..., None] * drawn).sum(dim=0)
    mean = model.deformation.effective(mean)
    away = drawn - mean
    spread = torch.einsum("mb, mbk, mbl -> bkl", share, away, away)
    spread = spread + share.square().sum(dim=0)[:, None, None] * found.covariance
    # Images of a particle have the same to the last digit.
    return Normal.of(*(batch.series.each(batch.series.one(one)) for one in (mean, spread)))


@torch.no_grad()
def energy_of_mean(
    model: FlexModel, batch: Batch, weights: Tensor, coordinates: int, prior: LatentPrior = GAUSSIAN
) -> Tensor:
    """The energy in nats, up to a constant, if every image ``(b)`` is the mean over all conformations.

    That is what the motion, by so many ``coordinates``, makes of images if nobody reads a latent from them: a map that
    is smoothed where it moves.
    """
    places = model.deformed(prior.drawn(_NEAR + _FAR, coordinates).to(weights.device))
    mean = torch.zeros((), device=weights.device)
    for points in places:
        mean = mean + left_by(model, batch, points) / len(places)
    return batch.series.each(batch.series.total(misfit(mean, weights)))


def _drawn(
    model: FlexModel, batch: Batch, weights: Tensor, found: Normal, prior: LatentPrior
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents ``(m b k)`` from a posterior that is wider than ``found``, and some from all over the prior, the same
    numbers for all; and the logarithms ``(m b)`` of how likely each is, and of how often it would be drawn."""
    points = standard_normal(_NEAR + _FAR, found.mean.shape[1]).to(found.mean.device)
    near = Normal.of(found.mean, _WIDER**2 * found.covariance)
    nowhere = torch.zeros_like(found.mean)
    far = Normal.around(nowhere, torch.diag_embed(nowhere + 1.0 / prior.variance))
    drawn = torch.cat([near.sample(points[:_NEAR, None]), far.sample(points[_NEAR:, None])])
    proposed = torch.logaddexp(
        near.log_density(drawn) + math.log(_NEAR / len(points)), far.log_density(drawn) + math.log(_FAR / len(points))
    )
    energies = torch.stack([energy_of(model, batch, weights, latents, prior) for latents in drawn])
    return drawn, -energies, proposed
