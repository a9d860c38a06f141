"""The likeliest latents of a particle under a fixed model, by damped Gauss-Newton: their energy is never raised."""

from __future__ import annotations

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.inference.energy import difference, energies, misfit, shifted
from dynaflex.latents.posterior import Normal
from dynaflex.latents.prior import GAUSSIAN, LatentPrior
from dynaflex.model import FlexModel
from dynaflex.shapes import Tensor

_DIFFERENCE = 0.05


@torch.no_grad()
def infer(
    model: FlexModel,
    batch: Batch,
    weights: Tensor,
    start: Tensor,
    iterations: int,
    prior: LatentPrior = GAUSSIAN,
) -> Normal:
    """The most probable latents ``(b k)`` of a batch, and the posterior around them; see :func:`most_probable`."""
    return Normal.around(*most_probable(model, batch, weights, start, iterations, prior))


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
            better = energies(model, batch, weights, z - step, prior) < energy
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


def _linearise(
    model: FlexModel, batch: Batch, weights: Tensor, z: Tensor, prior: LatentPrior
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy ``(g)``, difference ``(b h w 2)`` and its derivatives ``(b k h w 2)`` at z."""
    here = difference(model, batch, z)
    columns = [(difference(model, batch, shifted(z, k, _DIFFERENCE)) - here) / _DIFFERENCE for k in range(z.shape[1])]
    energy = batch.series.total(misfit(here, weights)) + prior.energy(z)
    return energy, here, torch.stack(columns, dim=1)


def _curvature(batch: Batch, jacobian: Tensor, weights: Tensor, z: Tensor, prior: LatentPrior) -> Tensor:
    """The second derivatives ``(g k k)`` of the energy at z, where the images are linear in it."""
    return batch.series.total(_products(jacobian, jacobian, weights)) + torch.diag_embed(prior.curvature(z))


def _products(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Weighted inner products of images ``(b m h w 2)`` and ``(b n h w 2)``: ``(b m n)``."""
    left = (a * weights[..., None]).flatten(2)
    return left @ b.flatten(2).transpose(1, 2)
