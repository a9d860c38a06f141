"""Fourier shell correlation of two maps: unmasked, masked, and corrected by phase randomisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class FscCurves:
    """FSC curves per shell ``(s)`` at ``frequency`` (1/Å). ``corrected`` is the one to quote."""

    frequency: Tensor
    unmasked: Tensor
    masked: Tensor
    corrected: Tensor

    def resolution(self, threshold: float) -> float | None:
        """Where the corrected curve first falls below ``threshold``, in Å; None if it starts below."""
        return resolution_at(self.frequency, self.corrected, threshold)

    def resolutions(self, threshold: float) -> dict[str, float | None]:
        """Where each curve first falls below ``threshold``, in Å: Nyquist if it never does, None if it starts below."""
        curves = {"corrected": self.corrected, "masked": self.masked, "unmasked": self.unmasked}
        return {name: resolution_at(self.frequency, curve, threshold) for name, curve in curves.items()}

    def as_dict(self, claim_limit: float | None = None) -> dict[str, object]:
        """JSON-ready curves; no resolution is quoted that is not finer than ``claim_limit`` Å."""

        def quoted(threshold: float) -> float | None:
            value = self.resolution(threshold)
            return value if value is not None and (claim_limit is None or value < claim_limit) else None

        curves = {name: getattr(self, name).tolist() for name in ("frequency", "unmasked", "masked", "corrected")}
        return {**curves, "resolution": {"0.143": quoted(0.143), "0.5": quoted(0.5)}}


def fourier_shell_correlation(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Correlation of two maps ``(d d d)`` per Fourier shell ``(s)``; empty shells give 0."""
    if mask is not None:
        first, second = first * mask, second * mask
    grid = Grid(first.shape[-1], 1.0)
    a, b = (fourier.transform(volume.to(torch.float64), 3) for volume in (first, second))
    cross = fourier.shell_sum((a * b.conj()).real, grid, 3)
    power = fourier.shell_sum(a.abs().square(), grid, 3) * fourier.shell_sum(b.abs().square(), grid, 3)
    return torch.where(power > 0, cross / power.clamp(min=1e-300).sqrt(), torch.zeros_like(cross))


def fsc_curves(
    first: Tensor, second: Tensor, pixel_size: float, mask: Tensor | None = None, seed: int = 0
) -> FscCurves:
    """All curves of two half-maps. Phases are randomised beyond the shell where the unmasked FSC falls below 0.8.

    The correction is that of Chen et al. (2013), as RELION applies it: from two shells beyond that limit,
    ``(masked - randomised) / (1 - randomised)``.
    """
    grid = Grid(first.shape[-1], pixel_size)
    unmasked = fourier_shell_correlation(first, second)
    masked = fourier_shell_correlation(first, second, mask) if mask is not None else unmasked
    corrected = masked.clone()
    below = (unmasked < 0.8).nonzero()
    if mask is not None and len(below) > 0:
        start = int(below[0])
        generator = torch.Generator().manual_seed(seed)
        scrambled = [randomise_phases(volume, start, generator) for volume in (first, second)]
        random = fourier_shell_correlation(scrambled[0], scrambled[1], mask)
        tail = slice(start + 2, None)
        corrected[tail] = torch.where(
            random[tail] < 1.0, (masked[tail] - random[tail]) / (1.0 - random[tail]).clamp(min=1e-12), 0.0
        )
    return FscCurves(grid.shell_frequencies(), unmasked, masked, corrected)


def randomise_phases(volume: Tensor, from_shell: int, generator: torch.Generator) -> Tensor:
    """The volume with its phases beyond ``from_shell`` replaced by those of white noise; amplitudes stay."""
    grid = Grid(volume.shape[-1], 1.0)
    coefficients = fourier.transform(volume.to(torch.float64), 3)
    noise = fourier.transform(torch.randn(volume.shape, generator=generator, dtype=torch.float64).to(volume.device), 3)
    phases = noise / noise.abs().clamp(min=1e-300)
    beyond = grid.radius(3, volume.device) >= from_shell
    return fourier.inverse_transform(torch.where(beyond, coefficients.abs() * phases, coefficients), 3)


def resolution_at(frequency: Tensor, curve: Tensor, threshold: float) -> float | None:
    """The resolution in Å of the first crossing below ``threshold``, interpolated; Nyquist if it never crosses."""
    below = (curve[1:] < threshold).nonzero()
    if len(below) == 0:
        return 1.0 / float(frequency[-1])
    shell = int(below[0]) + 1
    if shell == 1:
        return None
    high, low = float(curve[shell - 1]), float(curve[shell])
    fraction = (high - threshold) / (high - low)
    return 1.0 / float(frequency[shell - 1] + fraction * (frequency[shell] - frequency[shell - 1]))
