"""Laws of the noise model: it is a normal distribution, and its nats are true whatever surrounds the particle."""

from __future__ import annotations

import pytest
import torch

from dynaflex import fourier
from dynaflex.data.preprocess import circular_mask
from dynaflex.grid import Grid
from dynaflex.imaging.noise import log_normaliser, noise_weights, residual_power
from dynaflex.losses.data import data_loss
from dynaflex.shapes import Tensor

GRID = Grid(32, 4.0)
NOTHING = torch.zeros((), dtype=torch.complex64)


def noise(count: int, seed: int, power: Tensor | None = None) -> Tensor:
    """Coefficients ``(count h w)`` of images of noise, white or with some ``power`` ``(s)``."""
    images = torch.randn(count, GRID.box, GRID.box, generator=torch.Generator().manual_seed(seed))
    coefficients = fourier.transform(images, 2)
    return coefficients if power is None else coefficients * fourier.spread_shells(power.sqrt(), GRID, 2)


def log_likelihood(images: Tensor, power: Tensor) -> Tensor:
    loss = data_loss(NOTHING, images, noise_weights(power, GRID))
    return -(loss + log_normaliser(power, GRID))


def test_the_likelihood_is_that_of_normal_coefficients() -> None:
    power = torch.linspace(0.5, 3.0, GRID.n_shells)
    images = torch.randn(1, GRID.box, GRID.box, generator=torch.Generator().manual_seed(0))
    whole = torch.fft.fft2(images[0], norm="ortho")
    axis = torch.fft.fftfreq(GRID.box, 1.0 / GRID.box)
    shell = ((axis[:, None].square() + axis[None].square()).sqrt() + 0.5).floor().long()
    inside = shell < GRID.n_shells - 1
    variance = power[shell[inside]]
    expected = -0.5 * (whole[inside].abs().square() / variance + variance.log()).sum()
    assert log_likelihood(fourier.transform(images, 2), power)[0] == pytest.approx(float(expected), rel=1e-5)


def test_noise_is_likeliest_under_its_own_power() -> None:
    power = torch.linspace(2.0, 0.5, GRID.n_shells)
    images = noise(200, 1, power)
    values = [float(log_likelihood(images, factor * power).mean()) for factor in (0.5, 0.9, 1.0, 1.1, 2.0)]
    assert max(values) == values[2]
    tilted = power * torch.linspace(1.2, 0.8, GRID.n_shells)
    assert float(log_likelihood(images, tilted).mean()) < values[2]


@pytest.mark.parametrize("diameter", [60.0, 90.0, 120.0])
@pytest.mark.parametrize("outside", [0.0, 1.0, 2.0])
def test_a_free_coordinate_gains_half_a_nat_whatever_surrounds_the_particle(diameter: float, outside: float) -> None:
    """Noise of unit variance inside a circle, more or none of it outside; the power is learned from the circle."""
    window = circular_mask(GRID, diameter, 8.0)
    spread = outside + (1.0 - outside) * circular_mask(GRID, diameter + 16.0, 8.0)
    images = fourier.transform(fourier.inverse_transform(noise(4000, 2), 2) * spread, 2)
    power = residual_power(NOTHING, images, GRID, window)
    assert float(power[1:-1].mean()) == pytest.approx(1.0, abs=0.03)
    weights = noise_weights(power, GRID)
    small = circular_mask(GRID, 0.6 * diameter, 8.0)
    pattern = fourier.transform(fourier.inverse_transform(noise(1, 3), 2) * small, 2)
    along = ((images * pattern.conj()).real * weights).sum(dim=(1, 2))
    best = along / (pattern.abs().square() * weights).sum()
    gain = data_loss(NOTHING, images, weights) - data_loss(best[:, None, None] * pattern, images, weights)
    assert float(gain.mean()) == pytest.approx(0.5, rel=0.08)
