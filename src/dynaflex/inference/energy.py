"""How likely an image is at a latent: the misfit of what a model shows there, and the energy of the prior.

A particle has a latent, and several images where there are tilt series: energies are ``(g)`` of particles, images are
``(b ...)``.
"""

from __future__ import annotations

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.latents.prior import GAUSSIAN, LatentPrior
from dynaflex.losses.data import data_loss
from dynaflex.model import FlexModel
from dynaflex.shapes import Tensor


@torch.no_grad()
def energy_of(
    model: FlexModel, batch: Batch, weights: Tensor, latents: Tensor, prior: LatentPrior = GAUSSIAN
) -> Tensor:
    """The energy in nats, up to a constant, of latents ``(b k)``: one value per particle, for each image ``(b)``."""
    return batch.series.each(energies(model, batch, weights, batch.series.one(latents), prior))


def energies(model: FlexModel, batch: Batch, weights: Tensor, z: Tensor, prior: LatentPrior) -> Tensor:
    """Those ``(g)`` of the particles at z ``(g k)``."""
    return energies_at(model, batch, weights, batch.series.each(model.deformed(z)), prior.energy(z))


def energies_at(model: FlexModel, batch: Batch, weights: Tensor, points: Tensor, of_prior: Tensor) -> Tensor:
    """Those ``(g)`` with the density at ``points`` ``(b n 3)``, or at the same ``(n 3)`` for all images, if that of the
    prior is ``of_prior``."""
    return batch.series.total(misfit(left_by(model, batch, points), weights)) + of_prior


def difference(model: FlexModel, batch: Batch, z: Tensor) -> Tensor:
    """Prediction minus image, as real numbers ``(b h w 2)``."""
    return left_by(model, batch, batch.series.each(model.deformed(z)))


def left_by(model: FlexModel, batch: Batch, points: Tensor) -> Tensor:
    """The same with the density at ``points``."""
    return torch.view_as_real(model.render(points, batch.pose, batch.ctf) - batch.coefficients)


def misfit(difference: Tensor, weights: Tensor) -> Tensor:
    """The nats ``(b)`` by which images of which this is left, ``(b h w 2)``, are less likely than what is shown."""
    zero = torch.zeros((), dtype=torch.complex64, device=difference.device)
    return data_loss(torch.view_as_complex(difference.contiguous()), zero, weights)


def shifted(z: Tensor, k: int, offset: Tensor | float) -> Tensor:
    """Latents ``(b k)`` with ``offset`` ``(b)``, or one number, added to coordinate k."""
    shifted = z.clone()
    shifted[:, k] += offset
    return shifted
