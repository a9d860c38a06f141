"""Finding the conformation of a particle under a fixed model: damped Gauss-Newton on its latent vector."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynaflex.latents.posterior import Posterior
from dynaflex.losses.data import data_loss
from dynaflex.model import Batch, FlexModel
from dynaflex.shapes import Tensor

_DIFFERENCE = 0.05
FROM_TRAINED, FROM_NOTHING = 2, 6


@torch.no_grad()
def infer(model: FlexModel, batch: Batch, weights: Tensor, start: Tensor, iterations: int) -> Posterior:
    """The most probable latents ``(b k)`` of a batch, and the width of the posterior around them (Laplace).

    The image is nearly linear in a small step of z, so its derivatives are taken by finite differences: k + 1
    renderings an iteration, and no backward pass. A step that does not lower a particle's energy is refused and damped.
    """
    z, damping = start.clone(), torch.full((len(start), 1, 1), 1e-2, device=start.device)
    energy, residual, jacobian = _linearise(model, batch, weights, z)
    identity = torch.eye(z.shape[1], device=z.device)
    curvature = identity.expand(len(z), -1, -1)
    for _ in range(iterations):
        curvature = _products(jacobian, jacobian, weights) + identity
        gradient = _products(jacobian, residual[:, None], weights)[..., 0] + z
        diagonal = torch.diag_embed(curvature.diagonal(dim1=1, dim2=2))
        step = torch.linalg.solve(curvature + damping * diagonal, gradient)
        step = step * (2.0 / step.norm(dim=1, keepdim=True).clamp(min=2.0))
        new_energy, new_residual, new_jacobian = _linearise(model, batch, weights, z - step)
        better = new_energy < energy
        z = torch.where(better[:, None], z - step, z)
        energy = torch.where(better, new_energy, energy)
        residual = torch.where(better[:, None, None, None], new_residual, residual)
        jacobian = torch.where(better[:, None, None, None, None], new_jacobian, jacobian)
        damping = torch.where(better[:, None, None], damping * 0.2, damping * 10.0)
    variance = torch.linalg.inv(curvature).diagonal(dim1=1, dim2=2)
    return Posterior(z, 0.5 * variance.clamp(min=1e-12).log())


@torch.no_grad()
def best_start(model: FlexModel, batch: Batch, weights: Tensor, candidates: Tensor) -> Tensor:
    """For every particle, the candidate latent ``(m k)`` with the lowest energy, ``(b k)``."""
    energies = torch.stack([
        _energy(_difference(model, batch, z.expand(len(batch.index), -1)), weights, z.expand(len(batch.index), -1))
        for z in candidates
    ])  # fmt: skip
    return candidates[energies.argmin(dim=0)]


def embed(
    model: FlexModel,
    batches: Callable[[Tensor], Batch],
    index: Tensor,
    weights: Tensor,
    start: Tensor | None,
    candidates: Tensor,
    size: int = 64,
) -> Posterior:
    """Posterior of the particles ``index`` ``(p)``, from ``start`` ``(p k)`` or the best of ``candidates``."""
    means, scales = [], []
    for part in torch.arange(len(index)).split(size):
        batch = batches(index[part])
        origin = best_start(model, batch, weights, candidates) if start is None else start[part].to(weights.device)
        found = infer(model, batch, weights, origin, FROM_NOTHING if start is None else FROM_TRAINED)
        means.append(found.mean)
        scales.append(found.log_scale)
    return Posterior(torch.cat(means).cpu(), torch.cat(scales).cpu())


def _difference(model: FlexModel, batch: Batch, z: Tensor) -> Tensor:
    """Prediction minus image, as real numbers ``(b h w 2)``."""
    return torch.view_as_real(model.render(model.deformed(z), batch.pose, batch.ctf) - batch.coefficients)


def _energy(difference: Tensor, weights: Tensor, z: Tensor) -> Tensor:
    zero = torch.zeros((), dtype=torch.complex64, device=z.device)
    return data_loss(torch.view_as_complex(difference.contiguous()), zero, weights) + 0.5 * z.square().sum(dim=1)


def _linearise(model: FlexModel, batch: Batch, weights: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Energy ``(b)``, difference ``(b h w 2)`` and its derivatives ``(b k h w 2)`` at z."""
    here = _difference(model, batch, z)
    columns = []
    for k in range(z.shape[1]):
        shifted = z.clone()
        shifted[:, k] += _DIFFERENCE
        columns.append((_difference(model, batch, shifted) - here) / _DIFFERENCE)
    return _energy(here, weights, z), here, torch.stack(columns, dim=1)


def _products(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Weighted inner products of images ``(b m h w 2)`` and ``(b n h w 2)``: ``(b m n)``."""
    left = (a * weights[..., None]).flatten(2)
    return left @ b.flatten(2).transpose(1, 2)
