"""What is known of a conformation before its image is looked at: an energy that holds the latents together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch

from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class LatentPrior:
    """The energy ``strength sum_k |z_k|^power``: minus the logarithm of a prior, up to a constant, in nats."""

    strength: float
    power: float

    def energy(self, latents: Tensor) -> Tensor:
        """The energy of latents ``(b k)``, one value per particle ``(b)``."""
        return self.strength * latents.abs().pow(self.power).sum(dim=1)

    def gradient(self, latents: Tensor) -> Tensor:
        """The derivative ``(b k)`` of the energy at latents ``(b k)``."""
        return self.strength * self.power * latents.abs().pow(self.power - 1.0) * latents.sign()

    def curvature(self, latents: Tensor) -> Tensor:
        """The second derivative ``(b k)``, but nowhere below ``1 / variance`` of the prior.

        A wall is flat at the origin. A step of Gauss-Newton, and the width of a posterior, are then as if the prior
        were the normal distribution of the same variance; for the Gaussian this changes nothing.
        """
        second = self.strength * self.power * (self.power - 1.0) * latents.abs().pow(self.power - 2.0)
        return second.clamp(min=1.0 / self.variance)

    @property
    def variance(self) -> float:
        """The variance of a coordinate under the prior alone."""
        return self.strength ** (-2.0 / self.power) * math.gamma(3.0 / self.power) / math.gamma(1.0 / self.power)

    def drawn(self, points: int, coordinates: int, after: int = 0) -> Tensor:
        """Latents ``(n k)`` from all over it, evenly spread; the same every time, ``after`` as many others."""
        return self.variance**0.5 * standard_normal(after + points, coordinates)[after:]


GAUSSIAN = LatentPrior(0.5, 2.0)
"""The unit normal distribution, as in the papers."""

QUARTIC_WALL = LatentPrior(20.0, 4.0)
"""Weak up to half a unit, 101 nats at 1.5: nearly a box, in which no conformation is preferred."""


@cache
def standard_normal(points: int, coordinates: int) -> Tensor:
    """The same ``points`` of a standard normal distribution every time, evenly spread: ``(n k)``."""
    even = torch.quasirandom.SobolEngine(coordinates, scramble=True, seed=0).draw(points)
    return torch.special.ndtri(even.clamp(1e-6, 1.0 - 1e-6))
