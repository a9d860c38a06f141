"""Laws of the readings: what is true wins, what is the same ties, what is noise matches nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dynaflex import fourier
from dynaflex.checking.misreadings import misreadings
from dynaflex.checking.readings import Comparison, Stated, compare
from dynaflex.checking.slices import CentralSlices
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.render import render
from dynaflex.rotations import random_rotations

GRID = Grid(32, 4.0)
N, WIDTH = 200, 20.0
READINGS = {reading.name: reading for reading in misreadings()}
HANDED = "map mirrored in x"


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def points() -> torch.Tensor:
    """A molecule without symmetry."""
    return torch.randn(60, 3, generator=seeded(0)) * torch.tensor([16.0, 11.0, 7.0]) + torch.tensor([4.0, -6.0, 5.0])


@pytest.fixture(scope="module")
def slices(points: torch.Tensor) -> CentralSlices:
    return CentralSlices(molecule(points), GRID)


def molecule(points: torch.Tensor) -> torch.Tensor:
    """The map of Gaussians ``exp(-|x|²/s)`` of mass 1 at the points."""
    there = GRID.points()
    total = sum(torch.exp(-(there - point).square().sum(1) / WIDTH) for point in points)
    assert isinstance(total, torch.Tensor)
    return (total * GRID.pixel_size**3 / (math.pi * WIDTH) ** 1.5).view(32, 32, 32)


def optics() -> CtfParams:
    defocus = 9000.0 + 9000.0 * torch.rand(N, generator=seeded(1), dtype=torch.float64)
    zero, one = torch.zeros(N, dtype=torch.float64), torch.ones(N, dtype=torch.float64)
    return CtfParams(
        defocus_u=defocus + 1500.0, defocus_v=defocus - 1500.0, defocus_angle=3.0 * torch.rand(N, generator=seeded(2)),
        voltage_kv=300.0 * one, cs_mm=2.7 * one, amplitude_contrast=0.1 * one, phase_shift=0.3 * one, b_factor=zero,
        scale=one, dose=zero, beam_tilt=torch.zeros(N, 2),
        odd_zernike=torch.zeros(N, 0), even_zernike=torch.zeros(N, 0),
    )  # fmt: skip


def seen(
    points: torch.Tensor, slices: CentralSlices, rotation: torch.Tensor, shift: torch.Tensor, ctf: CtfParams
) -> Stated:
    """Particles as they are, with noise: rendered from points, not from slices."""
    transfer = transfer_function(ctf, GRID)
    clean = render(points, torch.ones(1, 60), torch.tensor([WIDTH]), Pose(rotation, shift), transfer, GRID)
    power = fourier.inverse_transform(clean, 2).var()
    noise = torch.randn(N, 32, 32, generator=seeded(5)) * (power / 0.1).sqrt()
    images = clean + fourier.transform(noise, 2)
    after, before = images.roll(-1, dims=0), images.roll(1, dims=0)
    return Stated(GRID, GRID.pixel_size, images, after, before, rotation, shift, ctf, transfer, slices)


@pytest.fixture(scope="module")
def stated(points: torch.Tensor, slices: CentralSlices) -> Stated:
    rotation, shift = random_rotations(N, seeded(3)).float(), 6.0 * torch.randn(N, 2, generator=seeded(4))
    return seen(points, slices, rotation, shift, optics())


@pytest.fixture(scope="module")
def right(stated: Stated) -> Comparison:
    return compare(stated, list(READINGS.values()))


def test_slices_are_projections(points: torch.Tensor, slices: CentralSlices) -> None:
    rotation = random_rotations(20, seeded(6)).float()
    weights, width = torch.ones(1, 60), torch.tensor([WIDTH])
    true = render(points, weights, width, Pose(rotation, torch.zeros(20, 2)), None, GRID)
    true = true * (GRID.shells(2) < GRID.box // 2)
    assert float((slices.take(rotation) - true).norm() / true.norm()) < 0.03


def test_a_stretched_slice_shows_a_stretched_molecule(points: torch.Tensor) -> None:
    rotation = random_rotations(5, seeded(7)).float()
    small = CentralSlices(molecule(points), GRID).take(rotation, 1.2)
    larger = CentralSlices(molecule(points * 1.2), GRID).take(rotation)
    inner = GRID.shells(2) < 6
    assert float(((small - larger) * inner).norm() / (larger * inner).norm()) < 0.05
    unstretched = CentralSlices(molecule(points), GRID).take(rotation)
    assert float(((unstretched - larger) * inner).norm() / (larger * inner).norm()) > 0.2


def test_the_reading_as_given_wins_where_it_is_right(right: Comparison) -> None:
    assert right.matches and right.better is None and right.perhaps_better == ()
    assert right.given.z > 30 and abs(right.control.z) < 0.2 * right.given.z
    assert max(score.gain for score in right.others) <= 0.0


INVERSE = {
    "shifts given as Å are pixels": "shifts given as pixels are Å",
    "shifts given as pixels are Å": "shifts given as Å are pixels",
    "shifts twice as large": "shifts half as large",
    "shifts half as large": "shifts twice as large",
    "rows one image behind": "rows one image ahead",
    "rows one image ahead": "rows one image behind",
    "defocus 10 times larger": "defocus 10 times smaller",
    "defocus 10 times smaller": "defocus 10 times larger",
    "map 10 % larger": "map 10 % smaller",
    "map 10 % smaller": "map 10 % larger",
}
ITS_OWN_INVERSE = [
    "shift sign flipped", "shift sign flipped in x", "shift sign flipped in y", "shift x and y swapped",
    "rotation transposed", "rot sign flipped", "tilt sign flipped, or map mirrored in z", "psi sign flipped",
    "rot and psi swapped", "psi off by 180 degrees", "images upside down", "images mirrored in x",
    "images transposed", "images turned by 180 degrees", "image origin in the corner", "map mirrored in x",
    "map mirrored in y", "map axes in the order z, y, x", "defocus sign flipped", "defocus U and V swapped",
    "defocus angle sign flipped", "voltage 200 for 300 kV, or 300 for 200",
]  # fmt: skip


@pytest.mark.parametrize("name", [*INVERSE, *ITS_OWN_INVERSE])
def test_a_mistake_is_found_as_its_inverse(stated: Stated, right: Comparison, name: str) -> None:
    wrong = READINGS[name].change(stated)
    neighbours = {"after": wrong.images.roll(-1, dims=0), "before": wrong.images.roll(1, dims=0)}
    found = compare(replace(wrong, **neighbours), list(READINGS.values()))
    assert found.better is not None, name
    assert found.better.name == INVERSE.get(name, name)
    assert found.better.gain > 5 and found.better.remedy
    assert found.better.correlation == pytest.approx(right.given.correlation, rel=0.03)


def test_readings_that_mean_the_same_here_are_told_as_such(points: torch.Tensor, stated: Stated) -> None:
    """Without shifts and astigmatism, nothing that changes only these can win, or be told apart."""
    ctf = optics()
    nothing = torch.zeros(N)
    plain = replace(ctf, defocus_u=ctf.defocus_v, phase_shift=nothing, defocus_angle=nothing)
    simple = seen(points, stated.slices, stated.rotation, torch.zeros(N, 2), plain)
    found = compare(simple, list(READINGS.values()))
    same = {score.name for score in found.others if score.same}
    assert {name for name in READINGS if name.startswith("shift")} <= same
    assert {"defocus U and V swapped", "defocus angle sign flipped", "phase shift is radians"} <= same
    assert found.better is None and {score.name for score in found.untold} >= same
    assert all(score.gain == 0.0 for score in found.others if score.same)
    assert HANDED not in same


def test_a_wrong_contrast_is_found_with_and_without_another_mistake(stated: Stated) -> None:
    black = replace(stated, images=-stated.images)
    found = compare(black, list(READINGS.values()))
    assert found.better is not None and found.better.name == "contrast inverted"
    assert "--invert-contrast" in found.better.remedy
    both = compare(replace(black, shift=-stated.shift), list(READINGS.values()))
    assert both.better is not None and both.better.name == "shift sign flipped, contrast inverted"


@pytest.mark.parametrize("seed", range(5))
def test_noise_matches_nothing(stated: Stated, seed: int) -> None:
    noise = fourier.transform(torch.randn(N, 32, 32, generator=seeded(50 + seed)), 2)
    found = compare(replace(stated, images=noise, after=noise, before=noise), list(READINGS.values()))
    assert not found.matches and found.better is None
    assert abs(found.given.z) < 5


def test_particles_in_another_order_match_nothing(stated: Stated) -> None:
    """They correlate all the same, because a blob resembles a blob: the control tells."""
    order = torch.randperm(N, generator=seeded(8))
    images = stated.images[order]
    neighbours = {"after": images.roll(-1, dims=0), "before": images.roll(1, dims=0)}
    found = compare(replace(stated, images=images, **neighbours), list(READINGS.values()))
    assert not found.matches and found.better is None


def test_particles_that_are_all_alike_still_match(points: torch.Tensor, slices: CentralSlices) -> None:
    """One pose, one CTF: the row of another particle serves as well."""
    rotation = random_rotations(1, seeded(9)).float().repeat(N, 1, 1)
    alike = seen(points, slices, rotation, torch.zeros(N, 2), optics()[torch.zeros(N, dtype=torch.long)])
    found = compare(alike, [READINGS["shift sign flipped"]])
    assert found.matches and found.control.same


def test_a_mirrored_map_with_mirrored_poses_cannot_be_told(points: torch.Tensor, stated: Stated) -> None:
    """The absolute hand is not in the images: reflecting all z, in the molecule and along the beam, changes nothing."""
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    other = CentralSlices(molecule(points * torch.tensor([1.0, 1.0, -1.0])), GRID)
    mirrored = replace(stated, slices=other, rotation=mirror @ stated.rotation @ mirror)
    one, two = (compare(s, [READINGS[HANDED]]).given.correlation for s in (stated, mirrored))
    assert two == pytest.approx(one, rel=0.01)
