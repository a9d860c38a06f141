"""Laws of the rigid problem in Fourier space: it is that of voxels which stand still, to the accuracy of both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.reconstruct.equations import Equations
from dynaflex.reconstruct.field import MARGIN, Region
from dynaflex.reconstruct.iterative import solve
from dynaflex.reconstruct.lattice import Lattice
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.rigid import Convolution, RigidProblem, rigid_equations
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation
from moved import MovedField
from seen import seen

CPU = torch.device("cpu")
GRID = Grid(16, 4.0)
POWER = torch.linspace(0.5, 3.0, GRID.n_shells)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def particles(views: Callable[..., Batch]) -> list[Batch]:
    """Batches of seven particles with images, whose CTFs are complex and of uneven contrast."""

    def draw(seed: int) -> Batch:
        bare = views(7, GRID, seed=seed)
        tilt = torch.polar(torch.ones(GRID.box, GRID.box // 2 + 1), 0.3 * torch.randn(16, 9, generator=seeded(5)))
        contrast = 1.0 + 0.3 * torch.rand(7, 1, 1, generator=seeded(seed))
        images = torch.randn(7, GRID.box, GRID.box, generator=seeded(seed + 1))
        return seen(bare.pose, bare.ctf * contrast * tilt, fourier.transform(images, 2), bare.latents)

    return [draw(seed) for seed in (1, 3, 5)]


def exactly(particles: list[Batch]) -> tuple[Tensor, Tensor]:
    """The normal matrix ``(n n)`` and both right-hand sides ``(2 n)``, wave by wave, in double precision."""
    points = Region.sphere(GRID, CPU).points.double()
    kx, ky = GRID.frequencies(dtype=torch.float64)
    k = torch.stack(torch.broadcast_tensors(kx, ky), dim=-1).reshape(-1, 2)
    inside = GRID.shells(2) < GRID.n_shells - 1
    count = torch.where(inside, fourier.hermitian_weights(GRID, 2), 0.0).double() / GRID.box**2
    weight = (count / fourier.spread_shells(POWER, GRID, 2)).flatten()
    matrix, right = torch.zeros(len(points), len(points), dtype=torch.float64), torch.zeros(2, len(points)).double()
    for batch in particles:
        for i in range(len(batch)):
            where = points @ batch.pose.rotation[i, :2].double().T + batch.pose.shift[i].double()
            waves = torch.polar(torch.ones(len(k), len(where)).double(), -2.0 * torch.pi * k @ where.T)
            ctf, image = batch.ctf[i].flatten().to(waves.dtype), batch.coefficients[i].flatten().to(waves.dtype)
            matrix += ((waves.conj().T * (weight * ctf.abs().square())) @ waves).real
            right[i % 2] += (waves.conj().T @ (weight * ctf.conj() * image)).real
    return matrix, right


def apart(found: Tensor, true: Tensor) -> float:
    return float((found.double() - true).norm() / true.norm())


def test_the_equations_are_those_of_every_wave(particles: list[Batch]) -> None:
    matrix, right = exactly(particles)
    equations = rigid_equations(GRID, lambda: particles, POWER)
    assert apart(equations.halves, right) < 1e-3
    for seed in range(3):
        values = torch.randn(len(right[0]), generator=seeded(seed))
        assert apart(equations.normal(values), matrix @ values.double()) < 1e-3
    smooth = torch.exp(-equations.region.points.square().sum(dim=1) / 200.0)
    assert apart(equations.normal(smooth), matrix @ smooth.double()) < 1e-3


@pytest.mark.parametrize(("iterations", "least"), [(1, 0.999), (3, 0.998)])
def test_the_equations_are_those_of_voxels_that_stand_still(
    particles: list[Batch], iterations: int, least: float
) -> None:
    """Which are seen through a coarser spline, right to a few per cent next to Nyquist: so they are compared below.

    The more it is solved for, the more of that the map is asked to make up for.
    """
    still, ours = (
        solve(equations, iterations, band=5)
        for equations in (
            Operator(MovedField(GRID), POWER).equations(lambda: particles),
            rigid_equations(GRID, lambda: particles, POWER),
        )
    )
    assert fourier_shell_correlation(ours, still)[1:6].min() > least


def test_the_filter_needs_no_image_and_is_that_of_the_equations(particles: list[Batch]) -> None:
    blind = [seen(batch.pose, batch.ctf) for batch in particles]
    problem = RigidProblem(GRID, POWER)
    assert len(list(problem.seen(blind))) == len(blind)
    assert torch.equal(
        problem.ramp(problem.spread()).inverse, rigid_equations(GRID, lambda: particles, POWER).ramp.inverse
    )


def test_batches_of_any_size_and_two_halves_of_the_particles_add_up(particles: list[Batch]) -> None:
    whole: Equations = rigid_equations(GRID, lambda: particles, POWER)
    parts = rigid_equations(GRID, lambda: [part for batch in particles for part in batch.split(2)], POWER)
    assert apart(parts.right_hand_side, whole.right_hand_side.double()) < 1e-5
    values = torch.randn(len(whole.region), generator=seeded())
    assert apart(parts.normal(values), whole.normal(values).double()) < 1e-5


@pytest.mark.parametrize(("finer", "error"), [(1.25, 1e-2), (2.0, 1e-3)])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_lattice_is_a_sum_of_waves(finer: float, error: float, channels: int) -> None:
    lattice = Lattice(GRID, 20, finer, channels, CPU)
    values = torch.randn(3, 16, 9, dtype=torch.complex64 if channels == 2 else torch.float32, generator=seeded())
    values = torch.where(GRID.shells(2) < 8, values, 0.0)
    rotation = random_rotations(3, seeded(1)).float()
    lattice.add(values, rotation)
    kx, ky = torch.arange(9.0).double(), torch.fft.fftfreq(16, 1.0 / 16).double()
    k = kx[:, None] * rotation[:, None, None, 0].double() + ky[:, None, None] * rotation[:, None, None, 1].double()
    axis = (torch.arange(20).double() - 10.0) / GRID.box
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).flip(-1).reshape(-1, 3)
    waves = torch.polar(
        torch.ones(len(points), k[..., 0].numel()).double(), 2.0 * torch.pi * points @ k.reshape(-1, 3).T
    )
    count = fourier.hermitian_weights(GRID, 2).expand(3, 16, 9).flatten().double()
    true = (waves @ (count * values.flatten().to(waves.dtype))).real.view(20, 20, 20)
    found = lattice.volume().double()
    assert apart(found, true) < error


def test_a_convolution_does_not_come_round_the_box() -> None:
    """A point at one corner, spread over the whole box, reaches the opposite corner, and nothing comes back."""
    d = GRID.box
    spread = torch.zeros(2 * d, 2 * d, 2 * d)
    axis = (torch.arange(2.0 * d) - d).abs()
    spread += 1.0 / (1.0 + axis[:, None, None] + 2.0 * axis[:, None] + 3.0 * axis)
    spread[0], spread[:, 0], spread[:, :, 0] = 0.0, 0.0, 0.0
    convolution, point = Convolution(spread, GRID), torch.zeros(d, d, d)
    point[1, 2, 3] = 1.0
    assert torch.allclose(
        convolution(point), spread[d - 1 : 2 * d - 1, d - 2 : 2 * d - 2, d - 3 : 2 * d - 3], atol=1e-5
    )
    first, second = (torch.randn(d, d, d, generator=seeded(seed)) for seed in (1, 2))
    forth, back = (first * convolution(second)).sum(), (convolution(first) * second).sum()
    assert float(forth) == pytest.approx(float(back), rel=1e-4)


def test_voxels_around_a_mask() -> None:
    """All of the sphere within 20 Å of it, and none else."""
    mask = torch.zeros(GRID.box, GRID.box, GRID.box)
    mask[8, 8, 5:7] = 1.0
    region = Region.around(mask, GRID)
    distance = torch.cdist(region.points, GRID.points()[mask.flatten() > 0.5]).amin(dim=1)
    assert 18.0 < float(distance.max()) <= MARGIN
    sphere = Region.sphere(GRID, CPU)
    near = torch.cdist(sphere.points, GRID.points()[mask.flatten() > 0.5]).amin(dim=1) <= MARGIN
    assert torch.equal(region.voxels, sphere.voxels[near])
