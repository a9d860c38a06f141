"""How the trained models move the molecule: how far, along what, how surely, and whether they fold it over itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dynaflex.imaging.noise import alternate_shells
from dynaflex.io import durable
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.prior import LatentPrior
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import Inputs
from dynaflex.results import certainty
from dynaflex.results.trained import TrainedHalf, config_of, contrast_in, embedded, load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import MOTION
from dynaflex.shapes import Tensor

_AT_ONCE = 64
_HELD_OUT = 400
_LOOKED_AT = 200
_STEP = 1.0
FOLDED = 1e-3
"""Share of points at which a conformation may be folded before a warning is given."""


def measure_motion(run: Run, inputs: Inputs, device: torch.device) -> None:
    """Where the model moves, and how far the two halves disagree on particles that neither has learned from.

    Held-out particles, at most so many, are embedded by both models; the difference of the two displacements of the
    landmarks of half 1, its Gaussians or some of its densest voxels, is the error of the deformation (Fig. 6 of the
    paper). Which conformation counts as the consensus is free in each half, so displacements are compared after
    subtracting their mean over the particles.

    What ``motion.npz`` holds stands at :class:`dynaflex.run.files.StoredMotion`.
    """
    halves = {half: load_half(run, half).to(device) for half in (1, 2)}
    points = halves[1].model.density.landmarks().detach()
    covariance = spread(_moved(halves[1], halves[1].latents.mean, points))
    error, known = torch.zeros(len(points)), _UNKNOWN
    held_out = inputs.some_held_out(_HELD_OUT)
    if len(held_out) > 1:
        data = HalfSet(held_out, 0, inputs.imaging, device, contrast_in(halves.values(), held_out.rows))
        disagreement, known = _compared(list(halves.values()), data, points, config_of(run).latent_prior)
        error = _width(disagreement)
    if config_of(run).half_sets == "shared":
        known = _UNKNOWN  # One model does not disagree with itself.
    decoder = known.decoder.expand(len(points), 3)
    errors = [_errors(half, points, decoder, known.unit_variance) for half in halves.values()]
    norms = []
    for half in halves.values():
        own = half.model.density.landmarks().detach()
        norms += [_lengths(part) for part in _moved(half, half.latents.mean, own)]
        _warn_of_folds(run, inputs, half, own)
    values, vectors = torch.linalg.eigh(covariance)
    with run.files.writing(MOTION) as path:
        durable.write_npz(
            path,
            points=points.cpu().numpy(),
            rms_displacement=_width(covariance).numpy(),
            direction=(vectors[:, :, -1] * values[:, -1:].clamp(min=0.0).sqrt()).float().cpu().numpy(),
            error=error.numpy(),
            displacement_norm=torch.cat(norms).numpy(),
            misfit=torch.cat([half.misfit for half in halves.values()]).numpy(),
            gain=torch.cat([half.gain for half in halves.values()]).numpy(),
            decoder_error=decoder.numpy(),
            unit_variance=np.float32(known.unit_variance),
            point_error=torch.stack([points for points, _ in errors]).square().mean(dim=0).sqrt().numpy(),
            particle_error=torch.cat([particles for _, particles in errors]).numpy(),
        )


def spread(displacements: Iterable[Tensor]) -> Tensor:
    """The covariance ``(n 3 3)`` over all particles of displacements that come in batches ``(b n 3)``, in Å²."""
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for part in displacements:
        exact = part.double()
        count += len(part)
        total = total + exact.sum(dim=0)
        products = products + torch.einsum("bni,bnj->nij", exact, exact)
    mean = total / count
    return products / count - mean[:, :, None] * mean[:, None, :]


@dataclass(frozen=True)
class _Certainty:
    """The ``decoder``'s errors ``(n 3)`` in Å, and by what the variance of latents is to be multiplied."""

    decoder: Tensor
    unit_variance: float


_UNKNOWN = _Certainty(torch.full((1, 3), torch.nan), math.nan)


def _compared(
    halves: Sequence[TrainedHalf], data: HalfSet, points: Tensor, prior: LatentPrior
) -> tuple[Tensor, _Certainty]:
    """The covariance ``(n 3 3)`` by which two models disagree about the same images, and what follows from it."""
    few = points[_some(len(points))]
    both = [embedded(half, data, prior).mean for half in halves]
    first, second = (_moved(half, mean, points) for half, mean in zip(halves, both, strict=True))
    disagreement = spread(one - two for one, two in zip(first, second, strict=True))
    same, apart, expected = [], [], torch.zeros(())
    for half, mean in zip(halves, both, strict=True):
        alone = embedded(half, data, prior, alternate_shells(data.grid, data.device) == half.half % 2)
        noise = certainty.noise_covariance(alone, prior)
        parts = zip(alone.mean.to(few.device).split(_AT_ONCE), noise.to(few.device).split(_AT_ONCE), strict=True)
        expected = expected + torch.cat([certainty.carried_variance(half, *part, few) for part in parts]).cpu()
        same.append(torch.cat(list(_moved(half, mean, few))))
        apart.append(torch.cat(list(_moved(half, alone.mean, few))))
    factor = certainty.unit_variance(same[0] - same[1], apart[0] - apart[1], expected)
    return disagreement, _Certainty(certainty.decoder_error(disagreement), factor)


def _errors(half: TrainedHalf, points: Tensor, decoder: Tensor, unit_variance: float) -> tuple[Tensor, Tensor]:
    """The standard error in Å of a point ``(n)``, rms over some particles, and of a particle ``(p)``, over some
    points."""

    def of(latents: Posterior, chosen: Tensor) -> Iterator[Tensor]:
        for part in torch.arange(len(latents.mean)).split(_AT_ONCE):
            some = latents.take(part).to(points.device)
            own = decoder[chosen].to(points.device)
            yield certainty.displacement_error(half, some, points[chosen], own, unit_variance).square().sum(2).cpu()

    everywhere = of(half.latents.take(_some(len(half.rows))), torch.arange(len(points)))
    everyone = of(half.latents, _some(len(points)))
    return (
        torch.cat(list(everywhere)).mean(dim=0).sqrt(),
        torch.cat([part.mean(dim=1) for part in everyone]).sqrt(),
    )


def _some(count: int) -> Tensor:
    """At most some hundreds of so many, evenly."""
    return torch.arange(0, count, -(-count // _LOOKED_AT))


def folded(half: TrainedHalf, latents: Tensor, points: Tensor) -> Tensor:
    """The share of points ``(n 3)`` around which a conformation ``latents`` ``(b k)`` turns space inside out, ``(b)``.

    That is where the determinant of the deformation's derivative, taken over 1 Å, is not positive.
    """
    here = half.displacements(latents, points)
    steps = _STEP * torch.eye(3, device=points.device)
    columns = [(half.displacements(latents, points + step) - here) / _STEP for step in steps]
    derivative = torch.eye(3, device=points.device) + torch.stack(columns, dim=3)
    return (torch.linalg.det(derivative) <= 0.0).double().mean(dim=1)


def _warn_of_folds(run: Run, inputs: Inputs, half: TrainedHalf, points: Tensor) -> None:
    """Name the particles whose predicted motion cannot be one of a molecule; some of all are looked at."""
    chosen = torch.arange(0, len(half.rows), max(1, len(half.rows) // _LOOKED_AT))
    latents = half.latents.mean[chosen].to(points.device)
    shares = folded(half, latents, points).cpu()
    lengths = half.displacements(latents, points).norm(dim=2).amax(dim=1).cpu()
    for what, wrong in (
        (f"folds space at {100 * float(shares.mean()):.2g} % of the points", shares.mean() > FOLDED),
        (f"moves points by up to {float(lengths.max()):.0f} Å", lengths.max() > 0.5 * inputs.imaging.diameter),
    ):
        if bool(wrong):
            worst = half.rows[chosen[(shares + 1e-6 * lengths).topk(min(3, len(chosen))).indices]].tolist()
            run.warn(
                f"half {half.half}: the motion {what}, most for the particles in rows {', '.join(map(str, worst))}; do "
                "not trust their conformations. A stiffer prior helps (--regularisation, --rigidity)"
            )


def _moved(half: TrainedHalf, latents: Tensor, points: Tensor) -> Iterator[Tensor]:
    for part in latents.split(_AT_ONCE):
        yield half.displacements(part.to(points.device), points).cpu()


def _width(covariance: Tensor) -> Tensor:
    """The root mean square distance ``(n)`` from the mean."""
    return covariance.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=0.0).sqrt().float()


def _lengths(displacements: Tensor) -> Tensor:
    """The root mean square displacement ``(b)`` of the points of each particle."""
    return displacements.square().sum(dim=2).mean(dim=1).sqrt()
