"""How the trained models move the molecule: how far, along what, how surely, and whether they fold it over itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from dynaflex import inference
from dynaflex.imaging.noise import noise_weights
from dynaflex.io import durable
from dynaflex.latents.prior import LatentPrior
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import Inputs
from dynaflex.results.trained import TrainedHalf, config_of, contrast_in, load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import MOTION
from dynaflex.shapes import Tensor
from dynaflex.training.final_latents import candidates

_AT_ONCE = 64
_LOOKED_AT = 200
_STEP = 1.0
FOLDED = 1e-3
"""Share of points at which a conformation may be folded before a warning is given."""


def measure_motion(run: Run, inputs: Inputs, device: torch.device) -> None:
    """Where the model moves, and how far the two halves disagree on particles that neither has learned from.

    Every held-out particle is embedded by both models; the difference of the two displacements of the landmarks of half
    1, its Gaussians or some of its densest voxels, is the error of the deformation (Fig. 6 of the paper). Which
    conformation counts as the consensus is free in each half, so displacements are compared after subtracting their
    mean over the particles.

    What ``motion.npz`` holds stands at :class:`dynaflex.run.files.StoredMotion`.
    """
    halves = {half: load_half(run, half).to(device) for half in (1, 2)}
    points = halves[1].model.density.landmarks().detach()
    covariance = spread(_moved(halves[1], halves[1].latents.mean, points))
    error = torch.zeros(len(points))
    held_out = inputs.particles.take(inputs.held_out)
    if len(held_out) > 1:
        data = HalfSet(held_out, 0, inputs.imaging, device, contrast_in(halves.values(), held_out.rows))
        prior = config_of(run).latent_prior
        first, second = (_moved(half, _latents_of(half, data, prior), points) for half in halves.values())
        error = _width(spread(one - two for one, two in zip(first, second, strict=True)))
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


def _latents_of(half: TrainedHalf, data: HalfSet, prior: LatentPrior) -> Tensor:
    """What a half's model makes of particles that are not its own, ``(p k)``."""
    weights = noise_weights(half.noise_power.to(data.device), data.grid)
    return inference.find_latents(
        half.model,
        data.batch,
        torch.arange(len(data)),
        weights,
        None,
        candidates(half.latents.mean).to(data.device),
        prior=prior,
        task=f"held-out latents, model of half {half.half}",
    ).mean


def _width(covariance: Tensor) -> Tensor:
    """The root mean square distance ``(n)`` from the mean."""
    return covariance.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=0.0).sqrt().float()


def _lengths(displacements: Tensor) -> Tensor:
    """The root mean square displacement ``(b)`` of the points of each particle."""
    return displacements.square().sum(dim=2).mean(dim=1).sqrt()
