"""The Gaussian model: analytic volume, agreement of map and images, composition, placement."""

from __future__ import annotations

import math

import pytest
import torch

from dynaflex import fourier
from dynaflex.density import placement
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.render import render

GRID = Grid(40, 2.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_gaussians(classes: int = 1, count: int = 50) -> GaussianDensity:
    positions = torch.randn(count, 3, generator=seeded()) * 7  # well inside: the box is periodic
    return GaussianDensity(positions, torch.full((classes,), 1.5), torch.tensor([20.0, 45.0, 80.0][:classes]))


def test_volume_is_the_sum_of_gaussians() -> None:
    density = some_gaussians(classes=2)
    points = GRID.points().view(40, 40, 40, 3)
    squared = (points[..., None, :] - density.positions).square().sum(-1)
    truth = sum(
        (d * a * torch.exp(-squared / s)).sum(-1)
        for d, a, s in zip(density.composition(), density.log_amplitude.exp(), density.widths(), strict=True)
    )
    assert (density.volume(GRID) - truth).abs().max() < 2e-3 * truth.max()


def test_image_is_the_projection_of_the_volume() -> None:
    density = some_gaussians()
    pose = Pose(torch.eye(3)[None], torch.zeros(1, 2))
    image = render(density.points(), density.weights(GRID), density.widths(), pose, None, GRID)
    projected = density.volume(GRID).sum(dim=0)
    assert (fourier.inverse_transform(image, 2)[0] - projected).abs().max() < 0.01 * projected.max()


def test_density_moves_and_does_not_vanish() -> None:
    density = some_gaussians()
    moved = density.volume(GRID, density.points() + torch.tensor([4.0, -2.0, 6.0]))
    assert torch.allclose(moved, density.volume(GRID).roll((3, -1, 2), dims=(0, 1, 2)), atol=1e-3)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_composition_is_a_distribution_over_classes(classes: int) -> None:
    density = some_gaussians(classes)
    with torch.no_grad():
        density.logits.copy_(torch.randn(classes, 50, generator=seeded(3)))
    d = density.composition()
    assert (d >= 0).all()
    assert torch.allclose(d.sum(dim=0), torch.ones(50))


def test_number_of_reference_parameters_is_the_papers() -> None:
    density = some_gaussians(classes=2, count=30)
    assert sum(p.numel() for p in density.parameters()) == 30 * 3 + 2 * (30 + 2)


def test_fixed_masses_scale_the_gaussians() -> None:
    mass = torch.rand(20, generator=seeded())
    density = GaussianDensity(torch.zeros(20, 3), torch.ones(1), torch.tensor([30.0]), mass)
    assert torch.allclose(density.weights(GRID)[0] / density.weights(GRID)[0, 0], mass / mass[0])
    assert all(p is not density.mass for p in density.parameters())


def test_fill_stays_above_the_threshold_and_spreads_evenly() -> None:
    volume = some_gaussians().volume(GRID).detach()
    threshold = 0.3 * float(volume.max())
    points = placement.fill(volume, GRID, threshold, 3000, seeded())
    voxel = ((points / GRID.pixel_size).round().long() + GRID.center).flip(1)
    assert (volume[voxel[:, 0], voxel[:, 1], voxel[:, 2]] > threshold).all()
    visits = torch.unique(voxel, dim=0, return_counts=True)[1]
    assert visits.max() - 3000 // int((volume > threshold).sum()) <= 2


def test_norm_matching_and_fitting_lower_the_misfit() -> None:
    truth = some_gaussians(count=200)
    volume = truth.volume(GRID).detach()
    points = placement.fill(volume, GRID, 0.2 * float(volume.max()), 200, seeded(5))
    matched = placement.match_norm(points, volume, GRID, 1, None)
    assert torch.allclose(matched.volume(GRID).norm(), volume.norm(), rtol=1e-3)
    fitted = placement.place(volume, GRID, positions=points)
    before, after = ((m.volume(GRID) - volume).square().sum() / volume.square().sum() for m in (matched, fitted))
    assert after < 0.5 * before
    assert after < 0.1


def test_automatic_threshold_separates_a_noisy_molecule_from_its_solvent() -> None:
    clean = some_gaussians(count=300).volume(GRID).detach()
    inside = clean > 0.25 * clean.max()
    volume = clean + 0.02 * clean.max() * torch.randn(clean.shape, generator=seeded(6))
    above = volume > placement.automatic_threshold(volume)
    assert (above & inside).sum() > 0.97 * inside.sum()
    assert (above & (clean < 0.02 * clean.max())).sum() < 0.001 * clean.numel()


def test_default_count_is_two_per_residue_volume() -> None:
    volume = torch.zeros(40, 40, 40)
    volume[10:20, 10:20, 10:20] = 1.0
    matter = placement.enclosed(volume, 0.5, 2.0)
    assert matter == 1000 * 8.0
    residues = matter / placement.RESIDUE_VOLUME
    assert math.isclose(placement.default_count(matter, 3.0), 2 * residues, rel_tol=0.05)
    assert math.isclose(placement.default_count(matter, 4.5), matter / 4.5**3, abs_tol=1.0)
