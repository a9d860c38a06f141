"""How far the displacement of a point in a particle is from the truth: two errors, each of them measured.

*What the models have not in common* shows in their disagreement about the same images: models of independent halves err
independently, so half its variance is that of one. Their decoders differ, and so does what each makes of an image.

*What the noise of an image does to both* does not show there. It is the posterior of the latents, carried through the
decoder, times the variance of unit weight that a comparison on different shells gives: then the noise is not common
either, and by what the disagreement grows tells how wide posteriors really are. A particle that may be seen turned
towards the viewer or away from him has a posterior of two humps; the normal distribution that is as wide stands for it.

A bias that both models have, of too stiff a prior for instance, shows in neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.stats import norm

from dynaflex.errors import UsageError
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.prior import LatentPrior
from dynaflex.results.trained import TrainedHalf
from dynaflex.run.directory import Run
from dynaflex.run.files import read_motion
from dynaflex.shapes import Array, FloatArray, Tensor

_AT_ONCE = 64


@dataclass(frozen=True)
class DisplacementErrors:
    """Displacements ``(b n 3)`` in Å less their mean over the particles of the half, because the conformation at rest
    is a free choice, and the standard ``error`` ``(b n 3)`` of each."""

    displacement: FloatArray
    error: FloatArray

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """The lower and the upper bound ``(b n 3)`` that hold the truth with a probability of ``level``, each alone."""
        width = norm.ppf(0.5 + 0.5 * level) * self.error
        return self.displacement - width, self.displacement + width


def displacement_errors(run: Run, half: TrainedHalf, points: FloatArray, particles: list[int]) -> DisplacementErrors:
    """How points ``(n 3)`` in Å are displaced in particles of a half, rows of the input table, and how surely.

    A point errs as the landmark of ``motion.npz`` does that is nearest to it.

    Raises:
        UsageError: a particle is not in the half, or nothing tells the error of this run.
    """
    motion = read_motion(run)
    if not np.isfinite(motion.decoder_error).all():
        raise UsageError(
            "displacements.no-error", "nothing tells how far the displacements of this run err",
            field=str(run.path), expected="two models of independent halves, and particles that neither learned from",
            fix="train with --half-sets independent and hold particles out; a run of an earlier version, anew",
        )  # fmt: skip
    where = torch.from_numpy(np.asarray(points, np.float32))
    decoder = torch.from_numpy(motion.decoder_error[cKDTree(motion.points).query(points)[1]])
    mean = torch.zeros(())
    for part in half.latents.mean.split(_AT_ONCE):
        mean = mean + half.displacements(part, where).sum(dim=0) / len(half.rows)
    chosen = half.latents.take(half.places_of(particles))
    error = displacement_error(half, chosen, where, decoder, float(motion.unit_variance))
    return DisplacementErrors((half.displacements(chosen.mean, where) - mean).numpy(), error.numpy())


def displacement_error(
    half: TrainedHalf, latents: Posterior, points: Tensor, decoder: Tensor, unit_variance: float
) -> Tensor:
    """Standard errors ``(b n 3)`` in Å of the displacements of points ``(n 3)``, whose ``decoder`` errors are
    ``(n 3)``."""
    carried = carried_variance(half, latents.mean, latents.covariances(), points)
    return (unit_variance * carried + decoder.square()).sqrt()


def carried_variance(half: TrainedHalf, mean: Tensor, covariance: Tensor, points: Tensor) -> Tensor:
    """What normal distributions of latents, ``mean`` ``(b k)`` and ``covariance`` ``(b k k)``, become as variances
    ``(b n 3)`` in Å² of displacements.

    Exact where these are linear in the latents; elsewhere, the mean slope between one standard deviation this way and
    that is taken along each axis of the covariance.
    """
    # A coordinate that noise does not touch has no width: rounding may put it below zero.
    values, vectors = torch.linalg.eigh(covariance)
    axes = vectors * values.clamp(min=0.0).sqrt()[:, None]
    variance = torch.zeros(())
    for k in range(mean.shape[1]):
        there, here = (half.displacements(mean + side * axes[:, :, k], points) for side in (0.5, -0.5))
        variance = variance + (there - here).square()
    return variance


def noise_covariance(latents: Posterior, prior: LatentPrior) -> Tensor:
    """The covariance ``(b k k)`` of what the noise of images does to latents: the posterior's less the prior's share,
    which is the same whatever the noise is."""
    covariance = latents.covariances()
    held = torch.diag_embed(prior.curvature(latents.mean))
    return covariance - covariance @ held @ covariance


def decoder_error(disagreement: Tensor) -> Tensor:
    """The standard error ``(n 3)`` of one of two models whose displacements differ with covariances ``(n 3 3)``."""
    return (0.5 * disagreement.diagonal(dim1=1, dim2=2)).clamp(min=0.0).sqrt().float()


def unit_variance(same: Tensor, apart: Tensor, expected: Tensor) -> float:
    """The variance of the noise in displacements, over that which posteriors say.

    ``same`` and ``apart`` ``(p n 3)`` are differences of two models' displacements, from the same shells of an image
    and from different ones; ``expected`` ``(p n 3)`` the variance that the noise of those different shells gives. It is
    not below 1: no estimate is surer than the likelihood allows.
    """
    grown = apart.double().var(dim=0, correction=0) - same.double().var(dim=0, correction=0)
    return max(1.0, float(grown.mean() / expected.double().mean().clamp(min=1e-12)))
