"""How much of the motion of the units of a symmetric assembly is found, and what the maps gain. One JSON line each.

    python benchmarks/symmetry.py [--data SIM] [--method flex|dynamight] [--run RUN] [--group C4] [--particles 3000]
    python benchmarks/symmetry.py [--data SIM] --best     the most that images can tell, where the molecule is known

SIM is a folder of `dynaflex simulate --symmetry`; by default four hinged units are made, SNR 0.1. The most is told
twice: of each unit with the others at their mean, as a run has them, and of all units together.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from judge import show, trained
from scipy.special import logsumexp

from dynaflex import fourier
from dynaflex.data.particles import read_particles
from dynaflex.imaging.ctf import transfer_function
from dynaflex.judge.scoring import score_run
from dynaflex.results.reopen import Moved
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, Tensor
from dynaflex.simulation.fourier_sum import gaussian_envelope, image_coefficients
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import Truth, read_truth
from dynaflex.validate.score import variance_explained

BOX, PIXEL = 64, 3.0
STATES = 13
ASKED = 200


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path)
    options.add_argument("--run", type=Path)
    options.add_argument("--method", default="flex", choices=["flex", "dynamight"])
    options.add_argument("--group", default="C4")
    options.add_argument("--particles", type=int, default=3000)
    options.add_argument("--best", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or Path(scratch) / "assembly"
        if given.data is None:
            data.mkdir()
            simulate(data, given.particles, BOX, PIXEL, 0.1, "hinge", 0, symmetry=given.group)
        truth = read_truth(data / "truth.npz")
        if given.best:
            show({"benchmark": "symmetry, most", **most(data, truth)})
            return
        run = given.run or trained(given.method, data, Path(scratch) / "run", "--symmetry", truth.symmetry)
        show({"benchmark": "symmetry", **score_run(Run.open(run), data / "truth.npz", 0, False, Moved())})


def most(data: Path, truth: Truth) -> dict[str, float]:
    """The variance of the arms' motion that the posterior mean of their angles explains."""
    units, angles = len(truth.motion.rotors), np.linspace(-1.0, 1.0, STATES) * truth.motion.swing
    particles = read_particles(data / "particles.star")
    rows = np.sort(np.random.default_rng(0).choice(len(particles), min(ASKED, len(particles)), replace=False))
    alone, together = (np.empty((len(rows), units)) for _ in range(2))
    for place, row in enumerate(rows):
        image = particles.images(np.array([row])).double()[0]
        body, arms = (part.double() for part in drawn(truth, particles.ctf, particles.pose, int(row), angles))
        left, mean = image - body, arms.mean(dim=1)
        scores = torch.einsum("hw,kshw->ks", left, arms)
        gram = torch.einsum("kshw,lthw->kslt", arms, arms)
        own = torch.stack([gram[k, range(STATES), k, range(STATES)] for k in range(units)])
        beside = torch.einsum("kshw,lhw->ksl", arms, mean)
        of_others = torch.stack([beside[k].sum(dim=1) - beside[k, :, k] for k in range(units)])
        likelihood = (scores - 0.5 * own - of_others).numpy()
        weight = np.exp(likelihood - logsumexp(likelihood, axis=1, keepdims=True))
        alone[place] = weight @ angles
        joint = sum(spread((scores - 0.5 * own)[k].numpy(), units, k) for k in range(units))
        for k, other in itertools.combinations(range(units), 2):
            joint = joint - spread(gram[k, :, other].numpy(), units, k, other)
        joint = np.exp(joint - logsumexp(joint))
        for k in range(units):
            together[place, k] = joint.sum(axis=tuple(axis for axis in range(units) if axis != k)) @ angles
    return {"others_at_mean": explained(truth, rows, alone), "all_units": explained(truth, rows, together)}


def drawn(truth: Truth, ctf: object, pose: object, row: int, angles: Array) -> tuple[Tensor, Tensor]:
    """The noise-free image of all bodies, and of each arm at each angle, ``(k s h h)``."""
    grid = truth.grid
    chosen = torch.tensor([row])
    envelope = gaussian_envelope(grid, 2, truth.sigma) * truth.amplitude * truth.contrast[row]
    envelope = envelope * transfer_function(ctf[chosen], grid)[0]  # type: ignore[index]

    def seen(points: Array) -> Tensor:
        flat = torch.from_numpy(points) @ pose.rotation[row, :2].T + pose.shift[row]  # type: ignore[attr-defined]
        coefficients = image_coefficients(flat, torch.ones(points.shape[-2]), grid)
        return fourier.inverse_transform(coefficients * envelope, 2)

    arms = [rotor.apply(truth.points[truth.domain == rotor.domain], angles) for rotor in truth.motion.rotors]
    return seen(truth.points[truth.domain == 0][None])[0], torch.stack([seen(arm) for arm in arms])


def spread(values: Array, units: int, *axes: int) -> Array:
    """A table of some units, as one of all of them."""
    return values.reshape([STATES if axis in axes else 1 for axis in range(units)])


def explained(truth: Truth, rows: Array, found: Array) -> float:
    """Of the motion of one arm, over all of them, with the mean angles that were found."""
    rotor = truth.motion.rotors[0]
    arm = truth.points[truth.domain == rotor.domain]
    moved, true = (rotor.apply(arm, angle.reshape(-1)) - arm for angle in (found, truth.coordinate[rows]))
    return variance_explained(moved, true)


if __name__ == "__main__":
    main()
