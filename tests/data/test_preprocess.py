from __future__ import annotations

import math

import pytest
import torch

from dynaflex.data.preprocess import circular_mask, fourier_crop, normalise, particle_diameter
from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid

GRID = Grid(64, 1.5)


def noise(n: int, box: int = 64) -> torch.Tensor:
    return torch.randn(n, box, box, generator=torch.Generator().manual_seed(3))


def test_the_mask_has_its_diameter_and_edge() -> None:
    mask = circular_mask(GRID, diameter=60.0, edge=12.0)
    radius = GRID.axis()
    profile = mask[GRID.center]
    assert mask.dtype == torch.float32
    assert bool((profile[radius.abs() <= 30.0] == 1).all())
    assert bool((profile[radius.abs() >= 42.0] == 0).all())
    assert math.isclose(float(profile[GRID.center + 24]), 0.5, abs_tol=1e-6)  # 36 Å, half way down the edge
    assert torch.equal(mask, mask.T)


def test_the_area_of_the_mask_converges() -> None:
    # Disc plus raised cosine: the weight of the edge is 1/2 on average over radius, weighted by circumference.
    fine = Grid(512, 0.25)
    r, w = 25.0, 10.0
    area = float(circular_mask(fine, 2 * r, w).sum()) * fine.pixel_size**2
    exact = math.pi * r**2 + 2 * math.pi * (r * w / 2 + w**2 * (0.25 - 1 / math.pi**2))
    assert abs(area / exact - 1) < 1e-4


def test_a_mask_without_edge_is_binary() -> None:
    assert set(circular_mask(GRID, 60.0, 0.0).unique().tolist()) == {0.0, 1.0}


def test_a_mask_follows_its_center() -> None:
    center = torch.tensor([[0.0, 0.0], [4.5, -9.0]], dtype=torch.float64)
    masks = circular_mask(GRID, 40.0, 6.0, center)
    assert torch.equal(masks[0], circular_mask(GRID, 40.0, 6.0))
    # (x, y) in Å is (columns, rows) in pixels.
    assert torch.allclose(masks[1], masks[0].roll((-6, 3), dims=(0, 1)), atol=1e-6)


def test_noise_outside_the_particle_gets_unit_variance() -> None:
    mask = circular_mask(GRID, 60.0, 6.0)
    images = 40.0 * mask * noise(1) + torch.tensor([3.0, 0.1])[:, None, None] * noise(2) + 7.0
    result = normalise(images, mask)
    weight = (1 - mask).double()
    mean = (weight * result).sum((1, 2)) / weight.sum()
    variance = (weight * (result - mean[:, None, None]).square()).sum((1, 2)) / weight.sum()
    assert torch.allclose(mean, torch.zeros(2, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(variance, torch.ones(2, dtype=torch.float64), rtol=1e-5)
    assert result.dtype == images.dtype


def test_normalising_forgets_scale_and_offset_and_only_those() -> None:
    mask = circular_mask(GRID, 60.0, 6.0)
    images = noise(3)
    once = normalise(images, mask)
    assert torch.allclose(normalise(5.0 * images - 2.0, mask), once, atol=1e-5)
    assert torch.allclose(normalise(once, mask), once, atol=1e-5)
    masks = mask.expand(3, -1, -1)
    assert torch.allclose(normalise(images, masks), once)


def test_images_do_not_see_each_other() -> None:
    mask = circular_mask(GRID, 60.0, 6.0)
    images = noise(4)
    changed = torch.cat([images[:2], 100.0 + 9.0 * noise(2)])
    assert torch.equal(normalise(changed, mask)[:2], normalise(images, mask)[:2])


def test_no_background_is_an_error() -> None:
    with pytest.raises(UsageError, match="background") as caught:
        normalise(noise(1), torch.ones(64, 64))
    assert caught.value.identifier == "preprocess.no-background"
    with pytest.raises(InputError, match="around the particle") as constant:
        normalise(torch.stack([noise(1)[0], torch.zeros(64, 64)]), circular_mask(GRID, 60.0, 6.0))
    assert (constant.value.identifier, constant.value.row) == ("preprocess.constant-background", 1)


def test_cropping_keeps_density_and_thins_noise() -> None:
    y, x = torch.meshgrid(GRID.axis(), GRID.axis(), indexing="ij")
    blob = torch.exp(-(x.square() + y.square()) / (2 * 9.0**2))[None]
    cropped = fourier_crop(blob, 32)
    coarse = GRID.cropped(32).axis()
    y, x = torch.meshgrid(coarse, coarse, indexing="ij")
    assert torch.allclose(cropped[0], torch.exp(-(x.square() + y.square()) / (2 * 9.0**2)), atol=1e-4)
    assert abs(float(fourier_crop(noise(50), 32).var()) - 0.25) < 0.01
    assert torch.equal(fourier_crop(blob, 64), blob)


@pytest.mark.parametrize("box", [33, 0, -2, 66])
def test_impossible_boxes_are_refused(box: int) -> None:
    with pytest.raises(UsageError) as caught:
        fourier_crop(noise(1), box)
    assert caught.value.identifier == "preprocess.train-box"
    assert caught.value.found == box


def test_the_diameter_holds_the_mask() -> None:
    radius = GRID.points().norm(dim=1).reshape(64, 64, 64)
    assert math.isclose(particle_diameter(GRID, (radius <= 21.0).float()), 42.0 + 20.0, abs_tol=1e-4)
    assert particle_diameter(GRID, torch.ones(64, 64, 64)) == GRID.width - 3.0
    assert particle_diameter(GRID) == GRID.width - 20.0
    assert 0.0 < particle_diameter(Grid(8, 1.0)) < 8.0
    with pytest.raises(InputError) as caught:
        particle_diameter(GRID, torch.zeros(64, 64, 64))
    assert caught.value.identifier == "mask.empty"
