"""The decoder of DynaMight: a network over latent and position."""

from __future__ import annotations

import math

import torch

from dynaflex import kernels
from dynaflex.deformation.base import Deformation, Moves
from dynaflex.shapes import Tensor


class CoordinateMLP(Deformation):
    """Displacement as a function of (z, x): a multilayer perceptron with ELU on a positional encoding of x.

    ``D(z, x) = x + delta(z, x)``. Implements [DM 4, 9].

    Of ``layers`` linear layers the first takes (encoding, z), the last gives the displacement in units of ``unit`` Å;
    all others are ``width`` units wide. The last is zero at first, or random, up to ``start`` over the root of
    ``width``. The first is linear in its two inputs, so its positional part is computed once per batch and not once per
    particle.
    """

    wavelengths: Tensor

    def __init__(
        self,
        latent_dim: int,
        box_width: float,
        *,
        layers: int = 8,
        width: int = 32,
        frequencies: int = 10,
        finest: float = 24.0,
        unit: float = 10.0,
        start: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.unit = unit
        longest = 2.0 * box_width
        steps = torch.arange(frequencies) / max(frequencies - 1, 1)
        self.register_buffer("wavelengths", longest * (min(finest, longest) / longest) ** steps)

        def uniform(*shape: int, fan_in: int) -> torch.nn.Parameter:
            bound = math.sqrt(3.0 / fan_in)
            return torch.nn.Parameter((torch.rand(*shape, generator=generator) * 2.0 - 1.0) * bound)

        inputs = 6 * frequencies
        self.w_space = uniform(width, inputs, fan_in=inputs)
        self.w_latent = uniform(width, latent_dim, fan_in=latent_dim)
        self.bias = torch.nn.Parameter(torch.zeros(width))
        self.w_hidden = uniform(layers - 2, width, width, fan_in=width)
        self.b_hidden = torch.nn.Parameter(torch.zeros(layers - 2, width))
        self.w_out = torch.nn.Parameter(uniform(3, width, fan_in=3 * width) * start)

    def encode_positions(self, points: Tensor) -> Tensor:
        """Sines and cosines of the coordinates at every wavelength, ``(n, 6 frequencies)``."""
        phase = (points[:, :, None] * (2.0 * torch.pi / self.wavelengths)).flatten(1)
        return torch.cat([phase.sin(), phase.cos()], dim=1)

    def at(self, points: Tensor) -> Moves:
        """What maps latents to the displacements of points ``(n 3)``; these lie in memory as ``(b 3 n)``."""
        spatial = self.w_space @ self.encode_positions(points).T
        return lambda latents: self.moved(spatial, latents)

    def moved(self, spatial: Tensor, latents: Tensor) -> Tensor:
        """The displacements ``(b n 3)``, in memory as ``(b 3 n)``, of points of which the first layer has ``spatial``
        ``(h n)``."""
        latent = latents @ self.w_latent.T + self.bias
        out = kernels.coordinate_mlp(spatial, latent, self.w_hidden, self.b_hidden, self.w_out)
        return (out * self.unit).transpose(1, 2)
