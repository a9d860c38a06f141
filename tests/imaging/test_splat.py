"""The projection operator: exact Fourier sums, adjointness, central slices, poses."""

from __future__ import annotations

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.noise import noise_weights, residual_power
from dynaflex.imaging.pose import Pose, project
from dynaflex.imaging.render import gaussian_envelope, render
from dynaflex.imaging.splat import gather, splat
from dynaflex.losses.data import data_loss
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

GRID = Grid(32, 2.5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact_coefficients(points: Tensor, weights: Tensor, grid: Grid) -> Tensor:
    """The Fourier sum of point masses, term by term."""
    kx, ky = grid.frequencies(dtype=torch.float64)
    phase = -2 * torch.pi * (points[..., 0, None, None] * kx + points[..., 1, None, None] * ky)
    return (weights[:, None, None] * torch.polar(torch.ones_like(phase), phase)).sum(dim=-3)


def test_splat_is_the_fourier_sum_within_its_stated_error() -> None:
    points = (torch.rand(2, 60, 2, generator=seeded(), dtype=torch.float64) - 0.5) * 40
    weights = torch.rand(60, generator=seeded(), dtype=torch.float64)
    ours, truth = splat(points, weights, GRID), exact_coefficients(points, weights, GRID)
    radius = GRID.radius(2) / (GRID.box / 2)
    for low, high, bound in ((0.0, 0.4, 1e-3), (0.4, 0.6, 1e-2), (0.6, 0.98, 0.1)):
        band = (radius >= low) & (radius < high)
        assert (ours - truth)[:, band].norm() < bound * truth[:, band].norm()


def test_gather_is_the_adjoint_of_splat() -> None:
    points = (torch.rand(3, 60, 2, generator=seeded(), dtype=torch.float64) - 0.5) * 60
    weights = torch.randn(60, generator=seeded(1), dtype=torch.float64)
    images = torch.randn(3, 32, 32, generator=seeded(2), dtype=torch.float64)
    spread = fourier.inverse_transform(splat(points, weights, GRID), 2)
    left = (spread * images).sum()
    right = (weights * gather(points, fourier.transform(images, 2), GRID)).sum()
    assert torch.allclose(left, right, rtol=1e-10)


def test_rotating_the_object_equals_projecting_with_the_pose() -> None:
    points = torch.randn(30, 3, generator=seeded(), dtype=torch.float64) * 15
    rotation = random_rotations(4, seeded(3))
    pose = Pose(rotation, torch.zeros(4, 2, dtype=torch.float64))
    turned = points @ rotation.transpose(1, 2)
    assert torch.allclose(project(points, pose), turned[..., :2])
    identity = Pose(torch.eye(3, dtype=torch.float64).expand(4, 3, 3), pose.shift)
    assert torch.allclose(project(points, pose), project(turned, identity))


def test_shift_moves_the_particle_to_where_the_pose_says() -> None:
    origin = torch.zeros(1, 3)
    pose = Pose(torch.eye(3)[None], torch.tensor([[10.0, -5.0]]))
    image = fourier.inverse_transform(render(origin, torch.ones(1, 1), torch.tensor([20.0]), pose, None, GRID), 2)[0]
    y, x = divmod(int(image.argmax()), GRID.box)
    assert (x - GRID.center, y - GRID.center) == (4, -2)


@pytest.mark.parametrize("width", [10.0, 40.0])
def test_rendered_gaussian_is_the_analytic_projection(width: float) -> None:
    grid = Grid(48, 2.0)
    centre = torch.tensor([[3.0, -4.0, 7.0]])
    pose = Pose(torch.eye(3)[None], torch.zeros(1, 2))
    image = fourier.inverse_transform(render(centre, torch.ones(1, 1), torch.tensor([width]), pose, None, grid), 2)[0]
    axis = grid.axis()
    squared = (axis[None, :] - 3.0) ** 2 + (axis[:, None] + 4.0) ** 2
    truth = torch.exp(-squared / width) / (torch.pi * width) * grid.pixel_size**2
    assert (image - truth).abs().max() < 0.01 * truth.max()


def test_central_slice_of_voxels_is_their_projection() -> None:
    grid = Grid(16, 1.0)
    volume = torch.randn(16, 16, 16, generator=seeded(5), dtype=torch.float64)
    pose = Pose(torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 2, dtype=torch.float64))
    inner = volume * (grid.points(dtype=torch.float64).view(16, 16, 16, 3).abs().amax(dim=-1) < 5)
    ours = splat(project(grid.points(dtype=torch.float64), pose), inner.flatten(), grid)[0]
    truth = fourier.transform(inner.sum(dim=0), 2)
    low = grid.radius(2) < 5
    assert (ours - truth)[low].abs().max() < 5e-3 * truth.abs().max()


def test_classes_add_up() -> None:
    points = torch.randn(20, 3, generator=seeded()) * 10
    pose = Pose(random_rotations(2, seeded()).float(), torch.zeros(2, 2))
    weights, widths = torch.rand(2, 20, generator=seeded()), torch.tensor([15.0, 60.0])
    both = render(points, weights, widths, pose, None, GRID)
    parts = [render(points, weights[c : c + 1], widths[c : c + 1], pose, None, GRID) for c in range(2)]
    assert torch.allclose(both, parts[0] + parts[1], atol=1e-4)


def test_envelope_is_the_transform_of_the_gaussian() -> None:
    assert gaussian_envelope(torch.tensor(30.0), GRID)[0, 0] == 1.0
    one = gaussian_envelope(torch.tensor(30.0), GRID)
    assert torch.allclose(one * one, gaussian_envelope(torch.tensor(60.0), GRID))


def test_white_noise_has_unit_power_and_the_loss_is_half_the_number_of_pixels() -> None:
    noise = torch.randn(400, 32, 32, generator=seeded(6))
    coefficients = fourier.transform(noise, 2)
    power = residual_power(torch.zeros(()), coefficients, GRID, torch.ones(32, 32))
    assert (power[1:] - 1).abs().max() < 0.1
    loss = data_loss(torch.zeros((), dtype=torch.complex64), coefficients, noise_weights(torch.ones(17), GRID))
    counted = float(fourier.hermitian_weights(GRID, 2)[GRID.shells(2) < 16].sum())
    assert abs(loss.mean() / (counted / 2) - 1) < 0.01


def test_data_loss_scales_inversely_with_the_noise_power() -> None:
    difference = fourier.transform(torch.randn(3, 32, 32, generator=seeded(7)), 2)
    quiet, loud = (noise_weights(torch.full((17,), p), GRID) for p in (1.0, 4.0))
    zero = torch.zeros((), dtype=torch.complex64)
    assert torch.allclose(data_loss(difference, zero, quiet), 4 * data_loss(difference, zero, loud))
