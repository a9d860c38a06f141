"""Laws of the least-squares map: the inverse crime, solvers that agree, starts, bands, and what the prior knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.linear import Linear, Step, conjugate_gradients
from dynaflex.reconstruct.equations import FLOOR, Equations, RampFilter, backproject
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.iterative import regularised, solve
from dynaflex.reconstruct.lbfgs import lbfgs, solve_lbfgs
from dynaflex.reconstruct.prior import occupied, signal_to_noise_prior
from dynaflex.reconstruct.rigid import rigid_equations
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation
from dynaflex.validate.score import mean_fsc
from moved import MovedField

CPU = torch.device("cpu")
GRID = Grid(24, 4.0)
HIGH = round(0.9 * GRID.center)

Experiment = Callable[..., Any]


def last(steps: Any, iterations: int) -> Step:
    *_, step = islice(steps, iterations + 1)
    return step


def with_prior(made: Any) -> tuple[Equations, Linear, Linear]:
    """Equations, their normal operator with the prior, and what nearly inverts that."""
    equations = made.equations
    precision = signal_to_noise_prior(equations)
    ramp = equations.ramp.with_precision(precision)
    normal = regularised(equations.normal, equations.region, precision)
    return equations, normal, lambda values: equations.filtered(values, ramp)


@pytest.mark.parametrize("prior", [None, signal_to_noise_prior])
def test_the_noiseless_inverse_crime(swirling: Field, experiment: Experiment, prior: Any) -> None:
    made = experiment(swirling)
    volume = solve(made.equations, 12, prior=prior)
    assert fourier_shell_correlation(volume, made.volume)[1 : HIGH + 1].min() > 0.99
    assert float((volume * made.volume).sum() / made.volume.square().sum()) == pytest.approx(1.0, abs=0.02)
    rigid = solve(rigid_equations(GRID, made.batches, made.operator.noise_power), 12, prior=prior)
    assert mean_fsc(rigid, made.volume) < mean_fsc(volume, made.volume) - 0.05


def test_more_iterations_never_raise_the_energy_and_the_energy_is_that_of_the_images(
    swirling: Field, experiment: Experiment
) -> None:
    made = experiment(swirling, n=50, noise=1.0)
    operator, views = made.operator, made.views[0]
    equations, energies = made.equations, []
    right = equations.right_hand_side
    for step in islice(conjugate_gradients(equations.normal, right, lambda v: v), 6):
        energies.append(step.energy(right))
        difference = operator.apply(step.solution, views) - views.coefficients
        weights = operator.weights * fourier.hermitian_weights(GRID, 2) / GRID.box**2
        squares = float((difference.abs().square() * weights).sum())
        nothing = float((views.coefficients.abs().square() * weights).sum())
        assert 0.5 * (squares - nothing) == pytest.approx(energies[-1], rel=1e-3, abs=1e-3 * nothing)
    assert energies[0] == 0.0
    assert all(later < earlier for earlier, later in pairwise(energies))


def test_conjugate_gradients_and_lbfgs_agree(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling, noise=1.0)
    equations, normal, condition = with_prior(made)
    right = equations.right_hand_side
    first = last(conjugate_gradients(normal, right, condition), 10)
    second = last(lbfgs(normal, right), 40)
    assert second.energy(right) == pytest.approx(first.energy(right), rel=1e-3)
    difference = (first.solution - second.solution).norm() / first.solution.norm()
    assert difference < 0.05
    volumes = (swirling.region.to_volume(step.solution) for step in (first, second))
    assert fourier_shell_correlation(*volumes)[1 : HIGH + 1].min() > 0.995


def test_lbfgs_recovers_the_noiseless_map(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling)
    assert mean_fsc(solve_lbfgs(made.equations), made.volume) > 0.97


def test_lbfgs_and_conjugate_gradients_take_the_same_path_where_nothing_conditions_them() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    matrix, right = root @ root.T + torch.eye(30), torch.randn(30, generator=generator, dtype=torch.float64)

    def normal(values: Tensor) -> Tensor:
        return matrix @ values

    for iterations in (1, 4, 9, 40):
        first = last(conjugate_gradients(normal, right, lambda values: values), iterations)
        second = last(lbfgs(normal, right), iterations)
        assert torch.allclose(first.solution, second.solution, rtol=1e-4, atol=1e-4)
    assert torch.allclose(first.solution, torch.linalg.solve(matrix, right), atol=1e-6)


def test_a_solver_that_starts_at_the_solution_stays_there() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    matrix, right = root @ root.T + torch.eye(30), torch.randn(30, generator=generator, dtype=torch.float64)
    solution = torch.linalg.solve(matrix, right)
    steps = {
        start: last(conjugate_gradients(lambda v: matrix @ v, right, lambda v: v, share * solution), 1).solution
        for start, share in (("there", 1.0), ("near", 0.9), ("zero", 0.0))
    }
    assert torch.allclose(steps["there"], solution, atol=1e-9)
    assert (steps["near"] - solution).norm() < 0.2 * (steps["zero"] - solution).norm()


def test_a_filter_made_before_changes_nothing(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling, n=100, noise=1.0)
    ramp = rigid_equations(GRID, made.batches, made.operator.noise_power).ramp
    halves = made.operator.back_in_two(made.batches())
    known = solve(made.operator.equations_of(halves, made.batches, ramp), 2, prior=signal_to_noise_prior)
    assert torch.equal(known, solve(made.equations, 2, prior=signal_to_noise_prior))


@pytest.mark.parametrize("prior", [None, signal_to_noise_prior])
def test_frequencies_above_the_band_stay_at_zero(swirling: Field, experiment: Experiment, prior: Any) -> None:
    made = experiment(swirling, noise=0.5)
    equations = made.equations
    volume = solve(equations, 3, band=6, prior=prior)
    power = fourier.shell_mean(fourier.transform(volume, 3).abs().square(), GRID, 3)
    assert power[7:].max() < 1e-9 * power[:7].max()
    assert fourier_shell_correlation(volume, made.volume)[2:7].min() > 0.95
    # The best map within the band is not the best of all maps, cut off at the band.
    normal, right = equations.normal, equations.right_hand_side
    banded, cut = (swirling.region.from_volume(_low_pass(solve(equations, 6, band=band), 6)) for band in (6, None))
    energies = [Step(values, right - normal(values)).energy(right) for values in (banded, cut)]
    assert energies[0] < 1.001 * energies[1]
    nearer = solve(equations, 3, band=10, prior=prior)
    assert (nearer - made.volume).norm() < (volume - made.volume).norm()


def _low_pass(volume: Tensor, band: int) -> Tensor:
    return fourier.inverse_transform(torch.where(GRID.shells(3) <= band, fourier.transform(volume, 3), 0.0), 3)


def test_noise_has_the_covariance_of_the_normal_operator(experiment: Experiment) -> None:
    """Its diagonal is what the spread function has at the origin, the same for every voxel; its spectrum is D."""
    made = experiment(MovedField(GRID), n=600, noise=2.0, signal=0.0)
    equations = rigid_equations(GRID, made.batches, made.operator.noise_power)
    region, noise = equations.region, equations.right_hand_side
    origin = (region.points.norm(dim=1) == 0).nonzero()[0, 0]
    point = torch.zeros(len(region)).index_fill(0, origin, 1.0)
    assert float(noise.square().mean()) == pytest.approx(float(equations.normal(point)[origin]), rel=0.1)
    power = fourier.shell_mean(fourier.transform(region.to_volume(noise), 3).abs().square(), GRID, 3)
    expected = fourier.shell_mean(equations.ramp.response, GRID, 3) * len(region)
    assert torch.allclose(power[4:-2], expected[4:-2], rtol=0.3)


def test_the_prior_finds_the_power_of_the_signal(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling, n=600, noise=2.0)
    precision = signal_to_noise_prior(made.equations)
    power = fourier.shell_mean(fourier.transform(made.volume, 3).abs().square(), GRID, 3) / GRID.box**3
    molecule = 4.0 / 3.0 * torch.pi * (GRID.box / 4) ** 3 / GRID.box**3
    ratio = (1.0 / precision) / (power / molecule)
    assert torch.allclose(ratio[2:-3], torch.ones(len(ratio) - 5), atol=0.6)
    assert float(ratio[2:-3].mean()) == pytest.approx(1.0, abs=0.3)


def test_the_mean_density_does_not_hang_on_whether_two_halves_agree_on_it(
    swirling: Field, experiment: Experiment
) -> None:
    made = experiment(swirling, n=200, noise=1.0)
    known = solve(made.equations, 3, prior=signal_to_noise_prior)
    first, second = made.equations.halves
    shift = 2.0 * float(made.equations.right_hand_side.mean())
    at_odds = replace(made.equations, halves=torch.stack([first + shift, second - shift]))
    assert float(at_odds.halves[0].sum() * at_odds.halves[1].sum()) < 0.0
    assert torch.allclose(at_odds.right_hand_side, made.equations.right_hand_side, atol=1e-3 * shift)
    found = solve(at_odds, 3, prior=signal_to_noise_prior)
    assert float(found.sum()) == pytest.approx(float(known.sum()), rel=0.1)


def test_the_mean_density_does_not_hang_on_what_the_cut_leaves_of_its_response(
    swirling: Field, experiment: Experiment
) -> None:
    equations = experiment(swirling, n=200, noise=1.0).equations
    sphere = Region.sphere(GRID, CPU)
    less = 1.01 * float(equations.ramp.response[0, 0, 0]) / len(sphere)
    spread = fourier.inverse_transform(equations.ramp.response, 3)
    cut = RampFilter(spread - sphere.to_volume(torch.full((len(sphere),), less)), GRID)
    assert float(cut.response[0, 0, 0]) < 0.0
    at_odds = replace(equations, ramp=cut)
    assert torch.allclose(signal_to_noise_prior(at_odds), signal_to_noise_prior(equations), rtol=0.2)
    assert float(cut.inverse[0, 0, 0]) <= 1.0 / (FLOOR * float(cut.of_shells[1]))
    found, known = (solve(one, 6, prior=signal_to_noise_prior) for one in (at_odds, equations))
    assert (found - known).norm() < 0.1 * known.norm()


def test_the_occupied_part_of_a_box() -> None:
    texture = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(0))
    texture[4:] = 0.0
    assert occupied(texture) == pytest.approx(0.125, rel=0.1)
    assert occupied(torch.zeros(8, 8, 8)) == 0.0


def test_the_prior_leaves_nothing_of_noise(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling, n=200, noise=1.0, signal=0.0)
    with_prior, without = (solve(made.equations, 6, prior=p) for p in (signal_to_noise_prior, None))
    assert with_prior.norm() < 0.1 * without.norm()


def test_at_convergence_the_prior_beats_stopping_early(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling, n=200, noise=4.0)
    mask = (GRID.radius_of_points() < 30.0).view(made.volume.shape).float()
    early, late, known = (
        mean_fsc(solve(made.equations, iterations, prior=prior), made.volume, mask)
        for iterations, prior in ((3, None), (12, None), (12, signal_to_noise_prior))
    )
    assert late < early <= known


def test_with_the_prior_three_iterations_come_within_a_thousandth(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling, noise=1.0)
    equations, normal, condition = with_prior(made)
    right = equations.right_hand_side
    energies = [last(conjugate_gradients(normal, right, condition), iterations).energy(right) for iterations in (3, 15)]
    assert energies[0] - energies[1] < 1e-3 * abs(energies[1])


def test_the_first_iteration_is_backprojection_rescaled(swirling: Field, experiment: Experiment) -> None:
    made = experiment(swirling, n=50, noise=1.0)
    one, back = solve(made.equations, 1), backproject(made.equations)
    scale = float((one * back).sum() / back.square().sum())
    assert torch.allclose(one, scale * back, atol=1e-5 * float(one.abs().max()))
