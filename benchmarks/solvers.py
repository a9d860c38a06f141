"""How many passes over the particles each solver needs: conjugate gradients with and without prior, and L-BFGS.

    python benchmarks/solvers.py

500 simulated particles of a swinging arm, box 48, SNR 0.1, reconstructed with the true motion. Each solver is followed
until its objective has at most 1e-3 of the gap left between a map of zeros and the minimum, or 60 iterations have
passed; each iteration is one application of the normal operator. One JSON line per solver, with the gap and the mean
FSC to the truth on the way. Without a prior the minimum is taken from 150 iterations of L-BFGS.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from dynaflex import fourier
from dynaflex.data.particles import read_particles
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.ctf import transfer_function
from dynaflex.linear import Linear, Step, conjugate_gradients
from dynaflex.reconstruct.equations import RampFilter
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.iterative import regularised
from dynaflex.reconstruct.lbfgs import lbfgs
from dynaflex.reconstruct.motion_field import motion_field
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.prior import signal_to_noise_prior
from dynaflex.shapes import Tensor
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import Truth, domain_mask, true_volume
from dynaflex.validate.score import mean_fsc

PARTICLES, BOX, PIXEL_SIZE, SNR = 500, 48, 4.0, 0.1
IMAGES_AT_ONCE = 16
GAP = 1e-3
LOOKED_AT = (3, 8, 20)
LONGEST = 60

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Problem:
    """A right-hand side ``(n)`` and the solvers for it, each with the normal operator whose minimum it seeks, and the
    energies of these minima."""

    region: Region
    right_hand_side: Tensor
    solvers: dict[str, tuple[Linear, Callable[[Linear], Iterator[Step]]]]
    minima: dict[Linear, float]


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        truth = simulate(Path(scratch), PARTICLES, BOX, PIXEL_SIZE, SNR, "hinge", 0)
        problem = pose_problem(truth, all_images(Path(scratch) / "particles.star", truth))
    rest = np.zeros(1)
    true, mask = true_volume(truth, rest, truth.grid), domain_mask(truth, rest, truth.grid)

    def score(step: Step) -> float:
        return round(mean_fsc(problem.region.to_volume(step.solution), true, mask), 4)

    for name in problem.solvers:
        print(json.dumps({"benchmark": "solvers", "solver": name, **follow(problem, name, score)}), flush=True)


def all_images(star: Path, truth: Truth) -> list[Batch]:
    """All images, with the numbers of the particles in place of latents."""
    particles = read_particles(star)
    return [
        Batch(
            index=part,
            pose=particles.pose[part].to(CPU),
            ctf=transfer_function(particles.ctf[part], truth.grid),
            read=lambda part=part: fourier.transform(particles.images(part.numpy()), 2),
            latents=part[:, None].float(),
        )
        for part in torch.arange(PARTICLES).split(IMAGES_AT_ONCE)
    ]


def pose_problem(truth: Truth, images: list[Batch]) -> Problem:
    """Reconstruction with the true motion: every point moves with the domain of its nearest atom."""
    atoms = cKDTree(truth.points)

    @cache
    def domain_of(points: Tensor) -> np.ndarray:
        return truth.domain[atoms.query(points.double().numpy())[1]]

    def displacement(particle: Tensor, points: Tensor) -> Tensor:
        where = points.double().numpy()
        coordinate = truth.coordinate[particle[:, 0].long().numpy()]
        return torch.from_numpy(truth.motion.displace(where, domain_of(points), coordinate) - where).float()

    def batches() -> list[Batch]:
        return images

    region, particles = Region.sphere(truth.grid, CPU), torch.arange(float(PARTICLES))[:, None]
    home = torch.from_numpy(truth.points).float()
    field = motion_field(region, lambda points: partial(displacement, points=points), particles, home)
    equations = Operator(field).equations(batches)
    ramp, plain, right_hand_side = equations.ramp, equations.normal, equations.right_hand_side
    precision = signal_to_noise_prior(equations)
    wiener = regularised(plain, region, precision)

    def descend(ramp: RampFilter) -> Callable[[Linear], Iterator[Step]]:
        condition = partial(equations.filtered, ramp=ramp)
        return partial(conjugate_gradients, right_hand_side=right_hand_side, precondition=condition)

    quasi_newton = partial(lbfgs, right_hand_side=right_hand_side)
    conditioned, unconditioned = descend(ramp.with_precision(precision)), descend(ramp)
    solvers = {
        "conjugate gradients, prior": (wiener, conditioned),
        "conjugate gradients": (plain, unconditioned),
        "L-BFGS": (plain, quasi_newton),
        "L-BFGS, prior": (wiener, quasi_newton),
    }
    minima = {wiener: converged(conditioned(wiener), 20), plain: converged(quasi_newton(plain), 150)}
    energies = {normal: step.energy(right_hand_side) for normal, step in minima.items()}
    return Problem(region, right_hand_side, solvers, energies)


def converged(steps: Iterator[Step], iterations: int) -> Step:
    """The last of so many steps."""
    *_, last = islice(steps, iterations + 1)
    return last


def follow(problem: Problem, name: str, score: Callable[[Step], float]) -> dict[str, float | None]:
    """What a solver takes to come within the gap, and how good its maps are."""
    normal, solver = problem.solvers[name]
    minimum = problem.minima[normal]
    figures: dict[str, float | None] = {"iterations": None, "cpu_s": None}
    scoring, start = 0.0, time.process_time()
    for iteration, step in enumerate(islice(solver(normal), LONGEST + 1)):
        pause = time.process_time()
        gap = 1.0 - step.energy(problem.right_hand_side) / minimum
        if iteration in LOOKED_AT:
            figures |= {f"gap_after_{iteration}": round(gap, 5), f"fsc_after_{iteration}": score(step)}
        if gap < GAP and figures["iterations"] is None:
            figures |= {"iterations": iteration, "cpu_s": round(pause - start - scoring, 1)}
        if iteration >= LOOKED_AT[-1] and figures["iterations"] is not None:
            break
        scoring += time.process_time() - pause
    return figures


if __name__ == "__main__":
    main()
