"""Fourier shell correlation: identities, noise, known signal-to-noise, phase randomisation."""

from __future__ import annotations

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.reconstruct.postprocess import merge, soft_mask
from dynaflex.validate.fsc import fourier_shell_correlation, fsc_curves, randomise_phases, resolution_at

GRID = Grid(48, 2.0)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(48, 48, 48, generator=torch.Generator().manual_seed(seed))


def test_a_map_correlates_fully_with_itself_at_any_scale() -> None:
    volume = noise(0)
    assert torch.allclose(fourier_shell_correlation(volume, 3.0 * volume), torch.ones(25, dtype=torch.float64))
    assert torch.allclose(fourier_shell_correlation(volume, -volume), -torch.ones(25, dtype=torch.float64))


def test_independent_noise_does_not_correlate() -> None:
    assert fourier_shell_correlation(noise(0), noise(1))[4:].abs().max() < 0.2


def test_curve_is_the_known_signal_to_noise_ratio() -> None:
    signal, ratio = noise(0), 2.0
    first, second = (signal + noise(s) / ratio**0.5 for s in (1, 2))
    expected = ratio / (1 + ratio)
    assert (fourier_shell_correlation(first, second)[6:] - expected).abs().max() < 0.06


def test_symmetric_in_its_arguments() -> None:
    assert torch.allclose(fourier_shell_correlation(noise(1), noise(2)), fourier_shell_correlation(noise(2), noise(1)))


def test_a_mask_alone_makes_no_corrected_resolution() -> None:
    radius = GRID.radius_of_points().view(48, 48, 48)
    mask = (radius < 15).float()
    signal = fourier.low_pass(noise(0), GRID, 16.0) * 4
    curves = fsc_curves(signal + noise(1), signal + noise(2), 2.0, mask)
    # The sharp mask correlates the noise of both maps: masked is inflated where corrected is not.
    assert curves.masked[14:].mean() > -0.05
    assert curves.corrected[14:].abs().mean() < 0.12
    resolution = curves.resolution(0.143)
    assert resolution is not None
    assert 10 < resolution < 18


def test_randomising_phases_keeps_amplitudes_and_low_shells() -> None:
    volume = noise(3)
    scrambled = randomise_phases(volume, 10, torch.Generator().manual_seed(0))
    before, after = fourier.transform(volume.double(), 3), fourier.transform(scrambled, 3)
    radius = GRID.radius(3)
    assert torch.allclose(before[radius < 10], after[radius < 10], atol=1e-8)
    inside = (radius >= 10) & (radius < 23)
    assert torch.allclose(before.abs()[inside], after.abs()[inside], rtol=1e-6)
    assert fourier_shell_correlation(volume, scrambled)[12:].abs().max() < 0.15


def test_resolution_is_interpolated_at_the_crossing() -> None:
    frequency = torch.arange(5, dtype=torch.float64) / 10.0
    assert resolution_at(frequency, torch.tensor([1.0, 1.0, 0.6, 0.4, 0.0]), 0.5) == pytest.approx(1 / 0.25)
    assert resolution_at(frequency, torch.ones(5), 0.5) == pytest.approx(1 / 0.4)
    assert resolution_at(frequency, torch.tensor([1.0, 0.1, 0.0, 0.0, 0.0]), 0.5) is None


def test_no_resolution_is_quoted_inside_the_shared_band() -> None:
    volume = fourier.low_pass(noise(0), GRID, 25.0) * 10
    curves = fsc_curves(volume + noise(1), volume + noise(2), 2.0)
    assert curves.as_dict()["resolution"]["0.143"] is not None  # type: ignore[index]
    assert curves.as_dict(claim_limit=10.0)["resolution"]["0.143"] is None  # type: ignore[index]


def test_merging_keeps_signal_and_drops_what_the_halves_do_not_share() -> None:
    signal = fourier.low_pass(noise(0), GRID, 12.0) * 10
    first, second = signal + noise(1), signal + noise(2)
    merged = merge(first, second, fourier_shell_correlation(first, second))
    assert fourier_shell_correlation(merged, signal)[2:7].min() > 0.95
    assert merged.std() < (0.5 * (first + second)).std()


def test_soft_mask_is_one_near_density_and_zero_far_away() -> None:
    volume = torch.zeros(48, 48, 48)
    volume[24, 24, 24] = 1.0
    mask = soft_mask(volume, GRID, 0.5, extend=6.0, edge=9.0)
    radius = GRID.radius_of_points().view(48, 48, 48)
    assert (mask[radius <= 6] == 1).all()
    assert (mask[radius >= 15] == 0).all()
    assert ((mask > 0) & (mask < 1)).any()
