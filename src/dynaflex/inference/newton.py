"""Finding the conformation of a particle under a fixed model: damped Gauss-Newton or coordinate descent on its latents.

Both minimise the negative log-likelihood of the image plus the energy of a prior, and neither ever raises it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from dynaflex import tell
from dynaflex.imaging.batch import Batch
from dynaflex.latents.posterior import Laplace, Posterior
from dynaflex.latents.prior import GAUSSIAN, LatentPrior, standard_normal
from dynaflex.losses.data import data_loss
from dynaflex.model import FlexModel
from dynaflex.series import ALONE, Series
from dynaflex.shapes import Tensor

_DIFFERENCE = 0.05
_RUNGS = 2
_NEAR, _FAR = 24, 8
"""Latents drawn from near the likeliest, and from all over the prior, to find how likely an image is."""
_WIDER = 1.3
"""How much wider than the posterior they are drawn: too wide costs a tenth of the draws, too narrow a coordinate's
tails."""
KNOWN_TO = 0.05
"""Nats to which the mean of :func:`log_evidence` is known: differences below it may be those of the draws."""
FROM_TRAINED, FROM_BEST, FROM_NOTHING = 2, 3, 6


@torch.no_grad()
def infer(
    model: FlexModel,
    batch: Batch,
    weights: Tensor,
    start: Tensor,
    iterations: int,
    prior: LatentPrior = GAUSSIAN,
) -> Laplace:
    """The most probable latents ``(b k)`` of a batch, and the posterior around them; see :func:`most_probable`."""
    return Laplace.around(*most_probable(model, batch, weights, start, iterations, prior))


@torch.no_grad()
def most_probable(
    model: FlexModel,
    batch: Batch,
    weights: Tensor,
    start: Tensor,
    iterations: int,
    prior: LatentPrior = GAUSSIAN,
) -> tuple[Tensor, Tensor]:
    """The most probable latents ``(b k)`` of a batch, and the curvature of the energy ``(b k k)`` around them.

    The image is nearly linear in a small step of z, so its derivatives are taken by finite differences: k + 1
    renderings an iteration and one at the end, and no backward pass. A step that does not lower a particle's energy is
    refused and damped; without iterations the latents stay where they are. Far from the answer the steps are short,
    because the image is linear in z over a few Å of motion only: one wide sweep of :func:`descend` comes near sooner.
    Images of a tilt series have one conformation: what they say of it adds up.
    """
    series = batch.series
    z = series.one(start).clone()
    damping = torch.full((len(z), 1, 1), 1e-2, device=z.device)
    energy, residual, jacobian = _linearise(model, batch, weights, z, prior)
    curvature = _curvature(batch, jacobian, weights, z, prior)
    for left in range(iterations, 0, -1):
        gradient = series.total(_products(jacobian, residual[:, None], weights))[..., 0] + prior.gradient(z)
        diagonal = torch.diag_embed(curvature.diagonal(dim1=1, dim2=2))
        # Where there is no step it is not finite, and is refused below.
        step = torch.linalg.solve_ex(curvature + damping * diagonal, gradient).result
        step = step * (2.0 / step.norm(dim=1, keepdim=True).clamp(min=2.0))
        if left == 1:
            # No step is left that would need derivatives.
            better = _energy(model, batch, weights, z - step, prior) < energy
            z = torch.where(better[:, None], z - step, z)
            break
        new_energy, new_residual, new_jacobian = _linearise(model, batch, weights, z - step, prior)
        better = new_energy < energy
        z = torch.where(better[:, None], z - step, z)
        energy = torch.where(better, new_energy, energy)
        nearer = series.each(better)
        residual = torch.where(nearer[:, None, None, None], new_residual, residual)
        jacobian = torch.where(nearer[:, None, None, None, None], new_jacobian, jacobian)
        damping = torch.where(better[:, None, None], damping * 0.2, damping * 10.0)
        curvature = _curvature(batch, jacobian, weights, z, prior)
    return series.each(z), series.each(curvature)


@torch.no_grad()
def log_evidence(
    model: FlexModel, batch: Batch, weights: Tensor, found: Laplace, prior: LatentPrior = GAUSSIAN
) -> Tensor:
    """The logarithm ``(b)`` of the likelihood of images whatever their latents, up to a constant, by importance.

    What latents fit of the noise counts against them by as much as it makes an image likelier. ``found`` is the
    posterior of these images; latents are drawn from one that is wider, and some from all over the prior, the same
    numbers for all. The normal distribution around the likeliest latents would underrate a large motion: images are
    linear in it over a few Å only, and beyond, other conformations are likely too.
    """
    points = standard_normal(_NEAR + _FAR, found.mean.shape[1]).to(found.mean.device)
    near = Laplace(found.mean, found.log_scale + math.log(_WIDER), _WIDER**2 * found.covariance)
    nowhere = torch.zeros_like(found.mean)
    far = Laplace.around(nowhere, torch.diag_embed(nowhere + 1.0 / prior.variance))
    drawn = torch.cat([near.sample(points[:_NEAR, None]), far.sample(points[_NEAR:, None])])
    proposed = torch.logaddexp(
        near.log_density(drawn) + math.log(_NEAR / len(points)), far.log_density(drawn) + math.log(_FAR / len(points))
    )
    energies = torch.stack([energy_of(model, batch, weights, latents, prior) for latents in drawn])
    return (-energies - proposed).logsumexp(dim=0) - math.log(len(points))


@torch.no_grad()
def descend(
    model: FlexModel,
    batch: Batch,
    weights: Tensor,
    start: Tensor,
    steps: Sequence[float],
    prior: LatentPrior = GAUSSIAN,
) -> Posterior:
    """The most probable latents ``(b k)`` of a batch by coordinate descent, as in the paper, and their widths.

    One sweep over the coordinates for each of ``steps``, which should narrow: the energy is taken on a ladder of
    candidates that many units apart around the present value, then at the vertex of the parabola through the best and
    its neighbours: 5 renderings a coordinate. The width is the last parabola's, with the other coordinates held fixed;
    where coordinates hang together it is narrower than that of :func:`infer`.
    """
    z = batch.series.one(start).clone()
    energy = _energy(model, batch, weights, z, prior)
    precision = prior.curvature(z)
    for spacing in steps:
        for k in range(z.shape[1]):

            def energy_at(offset: Tensor, z: Tensor = z, k: int = k) -> Tensor:
                return _energy(model, batch, weights, _shifted(z, k, offset), prior)

            offset, energy, bend = _line_search(energy_at, energy, spacing)
            z = _shifted(z, k, offset)
            precision[:, k] = torch.maximum(bend, prior.curvature(z)[:, k])
    return Posterior(*map(batch.series.each, (z, -0.5 * precision.log())))


@torch.no_grad()
def energy_of(
    model: FlexModel, batch: Batch, weights: Tensor, latents: Tensor, prior: LatentPrior = GAUSSIAN
) -> Tensor:
    """The energy in nats, up to a constant, of latents ``(b k)``: one value per particle, for each image ``(b)``."""
    return batch.series.each(_energy(model, batch, weights, batch.series.one(latents), prior))


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
        mean = mean + _left_by(model, batch, points) / len(places)
    return batch.series.each(batch.series.total(_misfit(mean, weights)))


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
    series, places = batch.series, model.deformed(candidates)
    energies = [
        series.each(series.total(_misfit(_left_by(model, batch, points), weights)) + energy)
        for points, energy in zip(places, prior.energy(candidates), strict=True)
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
) -> Laplace:
    """Posterior of the particles ``index`` ``(p)``, from the best of ``candidates`` and of their ``start`` ``(p k)``.

    ``task`` is what a person is told about it, ``series`` which of them are images of one.
    """
    parts = []
    for part in tell.each(series.parts(len(index), size), task):
        batch = batches(index[part])
        here = None if start is None else start[part].to(weights.device)
        origin = best_start(model, batch, weights, candidates, prior, here)
        parts.append(infer(model, batch, weights, origin, FROM_NOTHING if here is None else FROM_BEST, prior))
    mean, log_scale, covariance = (
        torch.cat([getattr(part, name) for part in parts]).cpu() for name in ("mean", "log_scale", "covariance")
    )
    return Laplace(mean, log_scale, covariance)


def _energy(model: FlexModel, batch: Batch, weights: Tensor, z: Tensor, prior: LatentPrior) -> Tensor:
    """The energy ``(g)`` of the particles at z ``(g k)``; here and below, a particle has a latent, and several images
    where there are tilt series."""
    return batch.series.total(_misfit(_difference(model, batch, z), weights)) + prior.energy(z)


def _difference(model: FlexModel, batch: Batch, z: Tensor) -> Tensor:
    """Prediction minus image, as real numbers ``(b h w 2)``."""
    return _left_by(model, batch, batch.series.each(model.deformed(z)))


def _left_by(model: FlexModel, batch: Batch, points: Tensor) -> Tensor:
    """The same with the density at ``points`` ``(b n 3)``, or at the same ``(n 3)`` for all images."""
    return torch.view_as_real(model.render(points, batch.pose, batch.ctf) - batch.coefficients)


def _misfit(difference: Tensor, weights: Tensor) -> Tensor:
    zero = torch.zeros((), dtype=torch.complex64, device=difference.device)
    return data_loss(torch.view_as_complex(difference.contiguous()), zero, weights)


def _linearise(
    model: FlexModel, batch: Batch, weights: Tensor, z: Tensor, prior: LatentPrior
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy ``(g)``, difference ``(b h w 2)`` and its derivatives ``(b k h w 2)`` at z."""
    here = _difference(model, batch, z)
    columns = [(_difference(model, batch, _shifted(z, k, _DIFFERENCE)) - here) / _DIFFERENCE for k in range(z.shape[1])]
    energy = batch.series.total(_misfit(here, weights)) + prior.energy(z)
    return energy, here, torch.stack(columns, dim=1)


def _curvature(batch: Batch, jacobian: Tensor, weights: Tensor, z: Tensor, prior: LatentPrior) -> Tensor:
    """The second derivatives ``(g k k)`` of the energy at z, where the images are linear in it."""
    return batch.series.total(_products(jacobian, jacobian, weights)) + torch.diag_embed(prior.curvature(z))


def _line_search(
    energy_at: Callable[[Tensor], Tensor], energy: Tensor, spacing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The best of a ladder of offsets and the vertex of its parabola: offset, energy and second derivative, ``(b)``.

    ``energy`` is that of offset 0, so the result is never above it.
    """
    offsets = spacing * torch.arange(-_RUNGS, _RUNGS + 1, device=energy.device)
    ladder = torch.stack([energy if m == _RUNGS else energy_at(offset) for m, offset in enumerate(offsets)])
    lowest, best = ladder.min(dim=0)
    middle = best.clamp(1, len(offsets) - 2)
    below, here, above = (ladder.gather(0, (middle + side)[None])[0] for side in (-1, 0, 1))
    bend = below - 2.0 * here + above
    rungs = 0.5 * (below - above) / bend.clamp(min=1e-12)
    vertex = offsets[middle] + spacing * rungs.clamp(-_RUNGS, _RUNGS)
    vertex_energy = energy_at(vertex)
    offset = torch.where(vertex_energy < lowest, vertex, offsets[best])
    return offset, torch.minimum(vertex_energy, lowest), bend / spacing**2


def _shifted(z: Tensor, k: int, offset: Tensor | float) -> Tensor:
    """Latents ``(b k)`` with ``offset`` ``(b)``, or one number, added to coordinate k."""
    shifted = z.clone()
    shifted[:, k] += offset
    return shifted


def _products(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Weighted inner products of images ``(b m h w 2)`` and ``(b n h w 2)``: ``(b m n)``."""
    left = (a * weights[..., None]).flatten(2)
    return left @ b.flatten(2).transpose(1, 2)
