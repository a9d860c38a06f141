"""Laws of the reconstruction: an operator and its adjoint, the rigid limit, maps that come back from their images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.data.particles import Particles, read_particles
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.reconstruct.equations import backproject
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.operator import Operator
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from dynaflex.simulation.molecule import ARM, BODY
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import Truth, domain_mask, true_volume, truth_displacement
from dynaflex.validate.fsc import fourier_shell_correlation
from dynaflex.validate.score import mean_fsc
from moved import Displacement, MovedField
from seen import seen

CPU = torch.device("cpu")
SMALL = Grid(16, 4.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def poses(n: int) -> Pose:
    generator = seeded(1)
    return Pose(random_rotations(n, generator).float(), torch.randn(n, 2, generator=generator) * 3)


def optics(n: int) -> CtfParams:
    """A CTF with beam tilt, whose transfer function is complex."""

    def every(value: float) -> Tensor:
        return torch.full((n,), value, dtype=torch.float64)

    return CtfParams(
        defocus_u=every(12000.0) + torch.arange(n) * 500, defocus_v=every(11500.0), defocus_angle=every(0.3),
        voltage_kv=every(300.0), cs_mm=every(2.7), amplitude_contrast=every(0.1), phase_shift=every(0.0),
        b_factor=every(20.0), scale=every(1.1), dose=every(0.0),
        beam_tilt=torch.full((n, 2), 40.0, dtype=torch.float64),
        odd_zernike=torch.zeros(n, 0, dtype=torch.float64), even_zernike=torch.zeros(n, 0, dtype=torch.float64),
    )  # fmt: skip


def some_images(n: int = 5) -> Batch:
    images = torch.randn(n, SMALL.box, SMALL.box, generator=seeded(2))
    ctf = transfer_function(optics(n), SMALL)
    return seen(poses(n), ctf, fourier.transform(images, 2), torch.randn(n, 2, generator=seeded(3)))


def swirl(latents: Tensor, points: Tensor) -> Tensor:
    """A smooth displacement of a few Å that differs in every particle."""
    first, second = latents[:, 0, None, None], latents[:, 1, None, None]
    return first * 2.0 * torch.sin(points / 15.0) + second * torch.cos(points.roll(1, dims=1) / 20.0)


def still(latents: Tensor, points: Tensor) -> Tensor:
    return torch.zeros(len(latents), *points.shape)


def as_real_images(first: Tensor, second: Tensor) -> float:
    """The inner product of images, pixel by pixel, from their coefficients."""
    pixels = [torch.fft.irfft2(values, s=(SMALL.box, SMALL.box)).double() for values in (first, second)]
    return float((pixels[0] * pixels[1]).sum())


@pytest.mark.parametrize("displacement", [None, swirl])
def test_adjoint(displacement: Displacement | None) -> None:
    operator, views = Operator(MovedField(SMALL, displacement)), some_images()
    assert views.ctf.is_complex() and views.ctf.imag.abs().max() > 0.05
    values = torch.randn(len(operator.field.region), generator=seeded(4))
    forward = as_real_images(operator.apply(values, views), views.coefficients)
    backward = float((values.double() * operator.adjoint(views.coefficients, views).double()).sum())
    assert forward == pytest.approx(backward, rel=1e-4)


@pytest.mark.parametrize("displacement", [None, swirl])
def test_normal_operator_is_adjoint_after_weights_after_operator(displacement: Displacement | None) -> None:
    power = torch.linspace(0.5, 3.0, SMALL.n_shells)
    operator, views = Operator(MovedField(SMALL, displacement), power), some_images()
    values = torch.randn(len(operator.field.region), generator=seeded(4))
    steps = operator.adjoint(operator.apply(values, views) * operator.weights, views)
    assert torch.allclose(operator.normal(values, views), steps, atol=1e-5 * float(steps.abs().max()))


def test_weights_are_the_inverse_of_the_noise() -> None:
    white = Operator(MovedField(SMALL)).weights
    quieter = Operator(MovedField(SMALL), torch.full((SMALL.n_shells,), 0.25)).weights
    inside = SMALL.shells(2) < SMALL.n_shells - 1
    assert torch.allclose(quieter, 4.0 * white)
    assert torch.equal(white > 0, inside)
    assert float(white[inside].max() / white[inside].min()) == pytest.approx(1.0)


def test_right_hand_side_adds_up_over_batches() -> None:
    operator, views = Operator(MovedField(SMALL, swirl)), some_images(6)
    whole = operator.back_in_two([views])
    assert torch.allclose(operator.back_in_two(views.split(2)), whole, atol=1e-5 * float(whole.abs().max()))


def test_zero_displacement_is_the_rigid_reconstruction() -> None:
    views = some_images()
    moved, rigid = (backproject(Operator(MovedField(SMALL, d)).equations(lambda: [views])) for d in (still, None))
    assert torch.allclose(moved, rigid, atol=1e-5 * float(rigid.abs().max()))
    assert rigid.abs().max() > 0
    other = backproject(Operator(MovedField(SMALL, swirl)).equations(lambda: [views]))
    assert not torch.allclose(other, rigid, rtol=0.05)


@pytest.mark.parametrize("box", [16, 18])
def test_voxels_of_the_region_stand_where_the_grid_has_them(box: int) -> None:
    grid = Grid(box, 2.0)
    region = Region.sphere(grid, CPU)
    volume = torch.randn(box, box, box, generator=seeded())
    values = torch.randn(len(region.voxels), generator=seeded(1))
    assert torch.equal(region.from_volume(region.to_volume(values)), values)
    inside = region.to_volume(region.from_volume(volume))
    radius = grid.radius_of_points().view(box, box, box)
    assert torch.equal(inside != 0, radius < grid.width / 2 - 2 * grid.pixel_size)
    assert torch.equal(inside[inside != 0], volume[inside != 0])
    coordinates = region.to_volume(region.points[:, 0])
    assert torch.equal(coordinates[inside != 0], grid.axis().expand(box, box, box)[inside != 0])


@pytest.fixture(scope="module")
def noiseless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Particles, Truth]]:
    """Images without noise of a molecule that stands still, and of one that swings."""
    sets = {}
    for motion in ("none", "hinge"):
        folder = tmp_path_factory.mktemp(motion)
        truth = simulate(folder, 500, 32, 6.0, math.inf, motion, 0)
        sets[motion] = (read_particles(folder / "particles.star"), truth)
    return sets


def reconstruct(particles: Particles, truth: Truth, displacement: Displacement | None) -> Tensor:
    """The map from all images; latents are the numbers of the particles."""
    index = torch.arange(len(particles))
    views = [
        seen(
            particles.pose[part].to(CPU),
            transfer_function(particles.ctf[part], truth.grid),
            fourier.transform(particles.images(part.numpy()), 2),
            part[:, None].float(),
        )
        for part in index.split(50)
    ]
    return backproject(Operator(MovedField(truth.grid, displacement)).equations(lambda: views))


def test_rigid_particles_give_their_map_back(noiseless: dict[str, tuple[Particles, Truth]]) -> None:
    particles, truth = noiseless["none"]
    volume = reconstruct(particles, truth, None)
    true = true_volume(truth, truth.coordinate[0], truth.grid)
    mask = domain_mask(truth, None, truth.grid)
    fsc = fourier_shell_correlation(volume, true, mask)
    assert fsc[: round(0.8 * truth.grid.center) + 1].min() > 0.98
    # The window's transform smears the Fourier space a little, which costs some amplitude.
    assert float((mask * volume * true).sum() / (mask * true * true).sum()) == pytest.approx(1.0, abs=0.1)


def test_the_true_motion_sharpens_what_moves_and_leaves_the_rest(
    noiseless: dict[str, tuple[Particles, Truth]],
) -> None:
    particles, truth = noiseless["hinge"]

    def motion(latents: Tensor, points: Tensor) -> Tensor:
        rows = latents[:, 0].long().numpy()
        return torch.from_numpy(truth_displacement(truth, rows, points.double().numpy())).float()

    def opposite(latents: Tensor, points: Tensor) -> Tensor:
        return -motion(latents, points)

    rest = np.zeros(1)
    true = true_volume(truth, rest, truth.grid)
    masks = [domain_mask(truth, rest, truth.grid, domain) for domain in (ARM, BODY)]
    (moved, body), (rigid, rigid_body), (wrong, _) = (
        [mean_fsc(reconstruct(particles, truth, displacement), true, mask) for mask in masks]
        for displacement in (motion, None, opposite)
    )
    assert moved > 0.97
    assert wrong + 0.1 < rigid < moved - 0.1
    assert body == pytest.approx(rigid_body, abs=0.005)
