"""The Gaussian pseudo-atoms of DynaMight."""

from __future__ import annotations

import torch

from dynaflex.density.base import Density
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor


class GaussianDensity(Density):
    """A map written as a sum of Gaussians ``a exp(-|x - c|²/s)``. Implements [DM 2, 8].

    (The paper prints the exponents without their minus sign, and [DM 8] without the square.) Every class has one
    amplitude a and one width s; the composition d, a softmax over ``logits`` ``(c n)``, assigns each Gaussian to
    classes. There is no occupancy to learn: density can move, not vanish. ``mass`` ``(n)`` holds fixed relative
    amplitudes: ones, or atomic numbers where the points come from an atomic model.
    """

    mass: Tensor

    def __init__(self, positions: Tensor, amplitude: Tensor, width: Tensor, mass: Tensor | None = None) -> None:
        super().__init__()
        classes, count = len(amplitude), len(positions)
        self.positions = torch.nn.Parameter(positions.clone())
        self.log_amplitude = torch.nn.Parameter(amplitude.log())
        self.log_width = torch.nn.Parameter(width.log())
        self.logits = torch.nn.Parameter(torch.zeros(classes, count))
        self.register_buffer("mass", torch.ones(count) if mass is None else mass.clone())

    def points(self) -> Tensor:
        """Centres c of the Gaussians ``(n 3)``, Å."""
        return self.positions

    def widths(self) -> Tensor:
        """The widths s ``(c)``, Å²."""
        return self.log_width.exp()

    def home(self) -> Tensor:
        """The centres ``(n 3)``."""
        return self.positions

    def landmarks(self) -> Tensor:
        """The centres ``(n 3)``."""
        return self.positions

    def composition(self) -> Tensor:
        """The class weights d ``(c n)``: non-negative, summing to 1 for every Gaussian."""
        return torch.softmax(self.logits, dim=0)

    def weights(self, grid: Grid) -> Tensor:
        """The integral of every Gaussian over the voxels of ``grid``, ``(c n)``."""
        volume = (torch.pi * self.widths()) ** 1.5 / grid.pixel_size**3
        return self.composition() * (self.log_amplitude.exp() * volume)[:, None] * self.mass

    def volume(self, grid: Grid, positions: Tensor | None = None) -> Tensor:
        """The map ``(d d d)`` on a grid, band-limited to it, with the Gaussians at ``positions`` ``(n 3)`` or at rest.

        Moving the centres and nothing else is the approximation of [DM 3], a locally constant deformation.
        Implements [DM 3].
        """
        centres = self.points() if positions is None else positions
        total = torch.zeros(grid.box**2, grid.box, device=centres.device)
        for weight, width in zip(self.weights(grid), self.widths(), strict=True):
            for part in torch.arange(len(centres), device=centres.device).split(_CHUNK):
                z, y, x = (_profile(centres[part, axis], width, grid) for axis in (2, 1, 0))
                plane = torch.einsum("zn,yn->zyn", z, y).flatten(0, 1)
                total = total + (plane * weight[part]) @ x.T
        return total.view(grid.box, grid.box, grid.box)


_CHUNK = 4096


def _profile(centres: Tensor, width: Tensor, grid: Grid) -> Tensor:
    """One-dimensional Gaussians of unit mass along an axis, band-limited to the grid, ``(d n)``."""
    k = torch.fft.rfftfreq(grid.box, grid.pixel_size, device=centres.device)
    phase = -2.0 * torch.pi * k[:, None] * (centres[None, :] + grid.center * grid.pixel_size)
    envelope = torch.exp(-(torch.pi**2) * width * k.square())[:, None]
    envelope = torch.cat([envelope[:-1], torch.zeros_like(envelope[:1])])
    return torch.fft.irfft(envelope * torch.polar(torch.ones_like(phase), phase), n=grid.box, dim=0)
