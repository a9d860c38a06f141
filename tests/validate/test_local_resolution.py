"""Laws of local resolution: right in every part of a molecule right up to its surface, and nothing out of noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from dynaflex import fourier
from dynaflex.density.placement import automatic_threshold
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.reconstruct.postprocess import merge, soft_mask
from dynaflex.shapes import Tensor
from dynaflex.simulation.particles import simulate
from dynaflex.validate.fsc import fourier_shell_correlation, fsc_curves
from dynaflex.validate.local_resolution import COARSEST, LocalResolution, local_resolution

GRID = Grid(64, 3.0)
SURFACE = 60.0
X = GRID.points()[:, 0].view(64, 64, 64)
R = GRID.radius_of_points().view(64, 64, 64)
DEPTH = SURFACE - R
BALL = (DEPTH > 0).float()
MASK = soft_mask(BALL, GRID, 0.5, extend=3.0, edge=6.0)
FREQUENCY = GRID.radius(3) / GRID.width
SHARP, BLURRED = 8.0, 12.0

Molecule = Callable[[int], tuple[Tensor, Tensor]]


def noise(seed: int, box: int = 64) -> Tensor:
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed))


def density(resolution: float, seed: int) -> Tensor:
    """A random density as strong as white unit noise at ``resolution`` Å, and 300 times stronger at the origin."""
    power = 300.0 * torch.exp(-math.log(300.0) * (resolution * FREQUENCY).square())
    return fourier.inverse_transform(fourier.transform(noise(seed), 3) * power.sqrt(), 3)


def blurred_on_one_side(seed: int) -> tuple[Tensor, Tensor]:
    """A ball whose two sides reach different resolutions in the same noise, and how strong noise is everywhere."""
    return BALL * torch.where(X < 0, density(SHARP, seed), density(BLURRED, seed + 1)), torch.ones(64, 64, 64)


def noisy_on_one_side(seed: int) -> tuple[Tensor, Tensor]:
    """A ball that is the same throughout, with noise on one side that drowns it earlier."""
    stronger = math.exp(0.5 * math.log(300.0) * (1.0 - (SHARP / BLURRED) ** 2))
    return BALL * density(SHARP, seed), torch.where(X < 0, 1.0, stronger)


def resolved(truth: Tensor, scale: Tensor, seed: int = 10, mask: Tensor = MASK) -> LocalResolution:
    """Of two half-maps of a ``truth`` with noise of a local ``scale``."""
    return local_resolution(truth + scale * noise(seed), truth + scale * noise(seed + 1), 3.0, mask)


@pytest.mark.parametrize("molecule", [blurred_on_one_side, noisy_on_one_side])
@pytest.mark.parametrize("depth", [(6.0, 15.0), (15.0, SURFACE)])
@pytest.mark.parametrize("seed", [0, 100])
def test_each_part_has_its_own_resolution_up_to_two_voxels_from_the_surface(
    molecule: Molecule, depth: tuple[float, float], seed: int
) -> None:
    found = resolved(*molecule(seed)).resolution
    layer = (depth[0] < DEPTH) & (depth[1] > DEPTH)
    for side, expected in ((X < -BLURRED, SHARP), (X > 2.0 * BLURRED, BLURRED)):
        wrong = (found[layer & side] / expected - 1.0).abs()
        assert wrong.median() < 0.05
        assert (wrong < 0.1).float().mean() > 0.95


@pytest.mark.parametrize("strength", [0.1, 0.2, 0.4])
def test_a_molecule_in_white_noise_is_resolved_up_to_its_contour_as_its_fsc_says(
    tmp_path_factory: pytest.TempPathFactory, strength: float
) -> None:
    folder = tmp_path_factory.mktemp("still")
    simulate(folder, 8, 64, 3.0, 1.0, "none", 0)
    truth, mask = (torch.from_numpy(read_map(folder / f"{name}.mrc").data) for name in ("consensus", "mask"))
    molecule = truth > automatic_threshold(truth, mask)
    halves = [truth + strength * truth[molecule].mean() * noise(seed) for seed in (60, 61)]
    whole = fsc_curves(halves[0], halves[1], 3.0, mask).resolution(0.5)
    assert whole is not None
    found = local_resolution(halves[0], halves[1], 3.0, mask).resolution[molecule] / whole
    assert found.quantile(0.05) > 0.8 and found.quantile(0.99) < 1.2


def test_what_lies_outside_the_mask_has_no_part_in_it() -> None:
    truth, scale = blurred_on_one_side(0)
    quiet, loud = (resolved(truth, torch.where(MASK > 0, scale, outside)).resolution for outside in (0.2, 4.0))
    inside = MASK > 0.5
    change = (loud[inside] / quiet[inside] - 1.0).abs()
    assert change.quantile(0.99) < 0.1
    assert (quiet[~inside] == 0).all() and (quiet[inside] > 0).all()


def mirrored(volume: Tensor) -> Tensor:
    return volume.flip(2).roll(1, 2)


def turned(volume: Tensor) -> Tensor:
    return torch.rot90(volume, 1, (0, 2)).roll(1, 0)


def moved(volume: Tensor) -> Tensor:
    return volume.roll((1, 2, -3), (0, 1, 2))


@pytest.mark.parametrize(("change", "tolerance"), [(mirrored, 1e-4), (turned, 1e-4), (moved, 0.01)])
def test_maps_turned_mirrored_or_moved_give_the_result_so(change: Callable[[Tensor], Tensor], tolerance: float) -> None:
    truth, scale = blurred_on_one_side(3)
    halves = [truth + scale * noise(seed) for seed in (20, 21)]
    here = local_resolution(halves[0], halves[1], 3.0, MASK)
    there = local_resolution(change(halves[0]), change(halves[1]), 3.0, change(MASK))
    assert torch.allclose(there.resolution, change(here.resolution), rtol=tolerance)
    difference = (there.filtered - change(here.filtered))[change(MASK) > 0.5]
    assert difference.abs().max() < 5.0 * tolerance * here.filtered.std()


def test_grey_scale_and_order_do_not_matter() -> None:
    truth, scale = blurred_on_one_side(4)
    first, second = truth + scale * noise(30), truth + scale * noise(31)
    here = local_resolution(first, second, 3.0, MASK).resolution
    assert torch.allclose(here, local_resolution(1e3 * first, 1e-3 * second, 3.0, MASK).resolution, rtol=1e-3)
    assert torch.allclose(here, local_resolution(second, first, 3.0, MASK).resolution, rtol=1e-3)


@pytest.mark.parametrize("mask", [MASK, BALL], ids=["soft", "hard"])
@pytest.mark.parametrize("strength", [10.0, 1000.0])
def test_the_edge_of_the_mask_resolves_nothing_however_strong_the_map_is(mask: Tensor, strength: float) -> None:
    blurred = strength * fourier.low_pass(BALL, GRID, 25.0)
    found = local_resolution(blurred + noise(1), blurred + noise(2), 3.0, mask).resolution
    assert found[mask > 0.5].min() > 20.0


@pytest.mark.parametrize("colour", [None, 10.0, 25.0])
def test_noise_is_resolved_nowhere_and_filtered_away(colour: float | None) -> None:
    for seed in range(4):
        halves = [noise(2 * seed), noise(2 * seed + 1)]
        if colour is not None:
            halves = [fourier.low_pass(half, GRID, colour) for half in halves]
        found = local_resolution(halves[0], halves[1], 3.0, MASK)
        values = found.resolution[MASK > 0.5]
        assert (values == values.max()).float().mean() > 0.99
        assert 0.9 * COARSEST < values.max() <= COARSEST
        assert found.filtered.square().mean() < 0.02 * (0.5 * (halves[0] + halves[1])).square().mean()


def test_noise_in_a_small_mask_is_not_resolved_either() -> None:
    mask = soft_mask((R < 15.0).float(), GRID, 0.5, extend=3.0, edge=6.0)
    for seed in range(10):
        values = local_resolution(noise(seed), noise(50 + seed), 3.0, mask).resolution[mask > 0.5]
        assert values.min() > 15.0


@pytest.mark.parametrize("radius", [12.0, 40.0, SURFACE])
def test_equal_maps_agree_up_to_nyquist_and_are_left_as_they_are(radius: float) -> None:
    mask = soft_mask((radius > R).float(), GRID, 0.5, extend=3.0, edge=6.0)
    whole = density(7.0, 5)
    found = local_resolution(whole, whole.clone(), 3.0, mask)
    inside = mask > 0.5
    assert torch.allclose(found.resolution[inside], torch.tensor(6.0))
    assert (found.filtered - whole)[inside].square().mean() < 1e-3 * whole[inside].square().mean()


def test_an_empty_mask_has_no_values_and_an_empty_map_no_resolution() -> None:
    found = local_resolution(noise(0), noise(1), 3.0, torch.zeros(64, 64, 64))
    assert not found.resolution.any() and not found.filtered.any()
    found = local_resolution(noise(0), torch.zeros(64, 64, 64), 3.0, MASK)
    assert found.resolution[MASK > 0.5].min() > 0.9 * COARSEST and not found.filtered.any()


@pytest.mark.parametrize("box", [8, 10, 12, 16, 22, 30])
def test_any_box_has_bands(box: int) -> None:
    whole, mask = noise(1, box), torch.ones(box, box, box)
    assert torch.allclose(local_resolution(whole, whole.clone(), 5.0, mask).resolution, torch.tensor(10.0))


@pytest.mark.parametrize("molecule", [blurred_on_one_side, noisy_on_one_side])
def test_the_filtered_map_is_nearer_to_the_truth_than_one_filter_for_all(molecule: Molecule) -> None:
    truth, scale = molecule(7)
    first, second = truth + scale * noise(40), truth + scale * noise(41)
    local = local_resolution(first, second, 3.0, MASK).filtered
    whole = merge(first, second, fourier_shell_correlation(first, second, MASK))

    def error(volume: Tensor, where: Tensor) -> float:
        return float((volume - truth)[where].square().mean())

    for side in (X < -BLURRED, X > BLURRED):
        assert error(local, (BALL > 0) & side) < error(whole, (BALL > 0) & side)
    assert error(local, (MASK > 0.5) & (BALL == 0)) < error(whole, (MASK > 0.5) & (BALL == 0))
