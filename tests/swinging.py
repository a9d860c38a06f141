"""Particles whose motion is known to the last parameter, and the model that is the truth about them.

Half the atoms of a ball swing about a hinge, each latent about an axis of its own. Images are drawn by the simulator,
which shares nothing with the forward model; noise is cut out of a larger field, as in a micrograph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch

from dynaflex import fourier
from dynaflex.data.particles import Particles, read_particles
from dynaflex.deformation.base import Deformation, Moves
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.inference.newton import infer
from dynaflex.io.mrc import ImageStack, write_stack
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.prior import LatentPrior
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.simulation.microscope import Atoms, draw_acquisition, write_particles
from dynaflex.training.scale import matching_scale

ATOMS, SIGMA = 80, 3.0
CPU = torch.device("cpu")
_AT_ONCE = 128

Noise = Callable[[np.random.Generator, int, int], FloatArray]
"""``noise(random, count, box)``: as many images ``(n h h)``."""


class Swing(Deformation):
    """Every second point turns about the origin, by ``angle`` for one unit of a latent and about that latent's axis."""

    def __init__(self, angle: float) -> None:
        super().__init__()
        self.angle = angle

    def at(self, points: Tensor) -> Moves:
        arm = points[1::2]

        def moves(latents: Tensor) -> Tensor:
            turn = torch.zeros(len(latents), 3)
            turn[:, : latents.shape[1]] = self.angle * latents
            moved = torch.zeros(len(latents), len(points), 3)
            moved[:, 1::2] = arm @ roma.rotvec_to_rotmat(turn).transpose(1, 2) - arm
            return moved

        return moves


@dataclass(frozen=True)
class Ball:
    """Atoms ``points`` ``(n 3)`` in a ball of some radius, of which half swing by ``angle`` radians a latent."""

    points: Tensor
    angle: float

    @classmethod
    def of(cls, radius: float, angle: float) -> Ball:
        """Atoms spread evenly; those that swing all lie to one side of the hinge."""
        random = torch.Generator().manual_seed(0)
        direction = torch.nn.functional.normalize(torch.randn(ATOMS, 3, generator=random), dim=1)
        points = radius * torch.rand(ATOMS, 1, generator=random) ** (1 / 3) * direction
        points[1::2, 0] = points[1::2, 0].abs()
        return cls(points, angle)

    def model(self, grid: Grid, latent_dim: int) -> FlexModel:
        """The truth, but for its grey scale."""
        density = GaussianDensity(self.points, torch.ones(1), torch.tensor([2.0 * SIGMA**2]))
        table = LatentTable(1, latent_dim, torch.Generator())
        return FlexModel(density, Swing(self.angle), table, grid).requires_grad_(False)

    def images(self, folder: Path, grid: Grid, latents: Tensor, snr: float, noise: Noise, seed: int = 0) -> Particles:
        """Particles with ``latents`` ``(p k)``, written to a folder and read from there."""
        deformation = Swing(self.angle)

        def positions(rows: slice) -> np.ndarray:
            return (self.points + deformation.displacement(latents[rows], self.points)).double().numpy()

        random = np.random.default_rng(seed)
        atoms = Atoms(positions, np.ones(ATOMS), SIGMA)
        write_particles(folder, grid, atoms, draw_acquisition(len(latents), random), math.inf, random)
        stack = folder / "particles.mrcs"
        signal = ImageStack.open(stack).read(np.arange(len(latents)))
        write_stack(stack, math.sqrt(snr) / signal.std() * signal + noise(random, *signal.shape[:2]), grid.pixel_size)
        return read_particles(folder / "particles.star")


def misfit_of(model: FlexModel, batch: Batch, weights: Tensor, latents: Tensor) -> Tensor:
    """What latents ``(b k)`` leave of the images: the negative log-likelihood in nats, up to a constant, ``(b)``."""
    points = batch.series.each(model.deformed(batch.series.one(latents)))
    return data_loss(model.render(points, batch.pose, batch.ctf), batch.coefficients, weights)


def white(random: np.random.Generator, count: int, box: int) -> FloatArray:
    """Noise of unit variance."""
    return random.standard_normal((count, box, box), dtype=np.float32)


def coloured(random: np.random.Generator, count: int, box: int) -> FloatArray:
    """Noise with four times the power at low frequency, cut out of a field twice as wide."""
    wide = Grid(2 * box, 1.0)
    power = 1.0 + 3.0 * torch.exp(-(wide.radius(2) / (0.2 * box)).square())
    field = fourier.transform(torch.from_numpy(white(random, count, 2 * box)), 2) * power.sqrt()
    corner = slice(box // 2, box // 2 + box)
    return fourier.inverse_transform(field, 2)[:, corner, corner].numpy()


@dataclass(frozen=True)
class Found:
    """What a search made of particles: their ``latents``, and by how many nats ``(p)`` they explain the images better
    than no motion."""

    latents: Posterior
    gain: Tensor


def search(data: HalfSet, model: FlexModel, prior: LatentPrior, latent_dim: int) -> Found:
    """The latents of a half-set as 3DFlex finds them: noise and latents in turn, from rest, with the map's scale."""
    everyone = torch.arange(len(data))

    def batches() -> list[Batch]:
        return [data.batch(part) for part in everyone.split(_AT_ONCE)]

    model.density.get_parameter("log_amplitude").add_(math.log(matching_scale(model, data, batches())))
    rest = list(torch.zeros(len(data), latent_dim).split(_AT_ONCE))
    means, power = rest, torch.ones(data.grid.n_shells)
    for _ in range(3):
        weights, seen = noise_weights(power, data.grid), batches()
        found = [infer(model, batch, weights, z, 3, prior) for batch, z in zip(seen, means, strict=True)]
        means = [part.mean for part in found]
        left = [
            len(z) * data.power_left(model.render(model.deformed(z), batch.pose, batch.ctf), batch)
            for batch, z in zip(seen, means, strict=True)
        ]
        each = data.kinds.power(torch.stack(left).sum(dim=0) / len(data), data.noise, everyone)
        power, noise = data.kinds.noise(each, everyone)
        data.see(noise)
    still, moved = (
        torch.cat([misfit_of(model, batch, weights, z) for batch, z in zip(seen, latents, strict=True)])
        for latents in (rest, means)
    )
    return Found(Posterior(torch.cat(means), torch.cat([part.log_scale for part in found])), still - moved)
