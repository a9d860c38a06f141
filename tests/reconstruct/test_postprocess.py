"""Laws of sharpening and of averaging a map over a point group."""

from __future__ import annotations

import math

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.reconstruct.postprocess import sharpen, symmetrise
from dynaflex.rotations import point_group, random_rotations
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation

GRID = Grid(32, 2.0)
HIGH = round(0.9 * GRID.center)
GROUPS = ["C3", "D2", "D5", "T", "O", "I"]


def atoms() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 8.0 * torch.randn(30, 3, generator=generator, dtype=torch.float64).clamp(-1.5, 1.5)


def rendered(centres: Tensor) -> Tensor:
    """The mean of Gaussians of 3 Å: smooth, but with signal in every shell."""
    points = GRID.points(dtype=torch.float64)
    total = torch.zeros(len(points), dtype=torch.float64)
    for centre in centres:
        total += torch.exp(-(points - centre).square().sum(dim=1) / (2.0 * 3.0**2))
    return (total / len(centres)).view(32, 32, 32)


@pytest.mark.parametrize("name", GROUPS)
def test_the_mean_of_a_map_is_the_map_of_all_its_copies(name: str) -> None:
    group = point_group(name)
    copies = torch.einsum("gij,nj->gni", group, atoms()).reshape(-1, 3)
    mean = symmetrise(rendered(atoms()).float(), group)
    assert (mean - rendered(copies)).norm() < 1e-3 * mean.norm()


@pytest.mark.parametrize("name", GROUPS)
def test_a_symmetric_map_stays_as_it_is_up_to_high_frequencies(name: str) -> None:
    group = point_group(name)
    generator = torch.Generator().manual_seed(1)
    texture = torch.randn(32, 32, 32, generator=generator) * (GRID.radius_of_points().view(32, 32, 32) < 18.0)
    symmetric = symmetrise(fourier.low_pass(texture, GRID, 4.0), group)
    inside = ((26.0 - GRID.radius_of_points()) / 4.0).clamp(0.0, 1.0).view(32, 32, 32)
    again = symmetrise(symmetric * inside, group)
    assert fourier_shell_correlation(again, symmetric * inside)[1 : HIGH + 1].min() > 0.999
    assert (again - symmetric * inside).norm() < 0.05 * symmetric.norm()


def test_the_trivial_group_changes_nothing_inside_the_sphere() -> None:
    volume = rendered(atoms())
    same = symmetrise(volume, point_group("C1"))
    assert same.dtype == volume.dtype
    assert torch.allclose(same, volume, atol=1e-4 * float(volume.max()))


def test_the_axis_of_a_group_goes_through_the_origin_of_the_box() -> None:
    mean = symmetrise(rendered(torch.tensor([[6.0, 0.0, 4.0]])).float(), point_group("C2"))
    centre = GRID.center
    spots = [tuple(where) for where in (mean > 0.45).nonzero().tolist()]
    assert spots and {spot[0] for spot in spots} <= {centre + 1, centre + 2, centre + 3}
    assert sum(spot[2] - centre for spot in spots) == 0


def test_a_rotated_map_has_a_rotated_symmetry_only() -> None:
    turn = random_rotations(1, torch.Generator().manual_seed(2))[0]
    group = point_group("C4")
    copies = torch.einsum("gij,nj->gni", group, atoms()).reshape(-1, 3) @ turn.T
    turned = rendered(copies).float()
    assert fourier_shell_correlation(symmetrise(turned, turn @ group @ turn.T), turned)[1:10].min() > 0.999
    assert fourier_shell_correlation(symmetrise(turned, group), turned)[3:10].mean() < 0.9


def test_sharpening_multiplies_the_amplitudes() -> None:
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(32, 32, 32, generator=generator)
    ratio = (fourier.transform(sharpen(volume, GRID, -80.0), 3) / fourier.transform(volume, 3)).real
    # At 8 Å, coefficient 8 of 32 with pixels of 2 Å: exp(80 / 4 / 64).
    assert float(ratio[0, 0, 8]) == pytest.approx(math.exp(80.0 / 4.0 / 64.0), rel=1e-4)
    assert float(ratio[0, 0, 0]) == pytest.approx(1.0, abs=1e-5)
    back = sharpen(sharpen(volume, GRID, -80.0), GRID, 80.0)
    assert torch.allclose(back, volume, atol=1e-5)
