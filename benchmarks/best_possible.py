"""The most that images can tell: what the posterior mean explains of the motion where the molecule is known.

    python benchmarks/best_possible.py [DATA] [--particles 300] [--steps 31]

DATA is a folder of `dynaflex simulate`, or of `molecules.py --out`; by default the hinge is made. One JSON line: the R²
of every coordinate; of every moving part the variance explained and the motion slope, as `dynaflex score` has them of a
run; and in nats a particle the evidence of the true molecule over its mean map, which is the most that a run can gain.
Molecules have one coordinate or two; more would need too many states.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from bodies import SIGMA, BodyScene, read_scene
from judge import show
from scipy.special import logsumexp
from simulated import simulated

from dynaflex import fourier
from dynaflex.data.particles import read_particles
from dynaflex.imaging.ctf import transfer_function
from dynaflex.judge.scene import Scene, SimulatedScene
from dynaflex.shapes import Array, BoolArray, IntArray
from dynaflex.simulation.fourier_sum import gaussian_envelope, image_coefficients
from dynaflex.validate.controls import mean_and_error
from dynaflex.validate.score import motion_slope, variance_explained

STREAM = 6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, nargs="?")
    options.add_argument("--particles", type=int, default=300, help="how many are asked, drawn at random")
    options.add_argument("--steps", type=int, default=31, help="states along a coordinate")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or simulated(Path(scratch) / "hinge", "hinge")
        show({"data": data.name, **most(data, given.particles, given.steps)})


def most(data: Path, particles: int, steps: int) -> dict[str, object]:
    """What the posterior over a lattice of states, ``steps`` along a coordinate, explains of some particles."""
    scene = scene_of(data)
    count, coordinates = scene.coordinate.shape
    if coordinates > 2:
        raise SystemExit(f"{data} has {coordinates} coordinates; at most 2 can be tried")
    states = np.array(list(itertools.product(np.linspace(*scene.limits, steps), repeat=coordinates)))
    rows = np.sort(np.random.default_rng(STREAM).choice(count, min(particles, count), replace=False))
    likelihood, of_mean = log_likelihoods(data, scene, states, rows)
    posterior = np.exp(likelihood - logsumexp(likelihood, axis=1, keepdims=True))
    true = scene.coordinate[rows]
    error = np.square(posterior @ states - true).mean(axis=0)
    evidence = logsumexp(likelihood, axis=1) - np.log(len(states)) - of_mean
    mean, standard_error = mean_and_error(evidence)
    figures: dict[str, object] = {"r2": (1.0 - error / true.var(axis=0)).tolist()}
    for part in scene.moving:
        mine = scene.domain == part.index
        moved, really = (displaced(scene, mine, coordinate) for coordinate in (states, true))
        expected = np.tensordot(posterior, moved, axes=1)
        figures[f"{part.name}_variance_explained"] = variance_explained(expected, really)
        figures[f"{part.name}_motion_slope"] = motion_slope(expected, really)
    return {**figures, "evidence": mean, "evidence_error": standard_error}


def scene_of(data: Path) -> BodyScene | SimulatedScene:
    """The molecule of either kind of data set."""
    truth = data / "truth.npz"
    with np.load(truth, allow_pickle=False) as stored:
        bodies = "follows" in stored.files
    return read_scene(truth) if bodies else SimulatedScene.read(truth)


def displaced(scene: Scene, mine: BoolArray, coordinate: Array) -> Array:
    """How the points of a part move in some conformations, Å ``(b n 3)``."""
    return scene.displacement(scene.points[mine], scene.domain[mine], coordinate)


def log_likelihoods(
    data: Path, scene: BodyScene | SimulatedScene, states: Array, rows: IntArray
) -> tuple[Array, Array]:
    """Of every image in every state ``(b s)``, and with the mean map of all states ``(b)``; the noise is white and of
    unit variance, as it was drawn."""
    made_up = isinstance(scene, SimulatedScene)
    weights = torch.ones(len(scene.points)) if made_up else torch.from_numpy(scene.weights)
    sigma = scene.truth.sigma if made_up else SIGMA
    amplitude, contrast = (
        (scene.truth.amplitude, scene.truth.contrast) if made_up else (scene.amplitude, scene.contrast)
    )
    grid, beads = scene.grid, torch.from_numpy(scene.points + scene.displacement(scene.points, scene.domain, states))
    particles = read_particles(data / "particles.star")
    images = particles.images(rows).double()
    envelope = gaussian_envelope(grid, 2, sigma) * amplitude
    found, of_mean = [], []
    for place, row in enumerate(rows):
        projected = beads @ particles.pose.rotation[row, :2].T + particles.pose.shift[row]
        modulation = contrast[row] * envelope * transfer_function(particles.ctf[torch.tensor([row])], grid)
        drawn = modulation * image_coefficients(projected, weights.double(), grid)
        for kept, coefficients in ((found, drawn), (of_mean, drawn.mean(dim=0, keepdim=True))):
            left = fourier.inverse_transform(coefficients, 2) - images[place]
            kept.append(-0.5 * left.square().sum(dim=(1, 2)).numpy())
    return np.array(found), np.array(of_mean)[:, 0]


if __name__ == "__main__":
    main()
