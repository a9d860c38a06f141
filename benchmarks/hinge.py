"""How much of a known hinge motion DynaMight recovers, and what it gains: one JSON line per half, one for the cost.

    python benchmarks/hinge.py --data SIM --run RUN     score a finished run on the output of `dynaflex simulate`
    python benchmarks/hinge.py                          simulate, run with default settings, and score

Maps are compared with the true conformation that each matches best in the moving arm: the origin of the motion is a
free choice of the method.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fourier_insertion import reconstruct
from scipy.spatial import cKDTree

from dynaflex.io.mrc import read_map
from dynaflex.pipelines.inputs import InputPaths, read_inputs
from dynaflex.pipelines.maps import SOLVERS, views
from dynaflex.pipelines.predict import config_of, displacements
from dynaflex.pipelines.run import Run
from dynaflex.reconstruct.field import VoxelField
from dynaflex.reconstruct.operator import Operator, Views
from dynaflex.shapes import Tensor
from dynaflex.simulate.molecule import ARM, BODY
from dynaflex.simulate.truth import Truth, domain_mask, read_truth, true_volume, truth_displacement
from dynaflex.validate.score import (
    best_matching_state,
    gap_closed,
    knn_r2,
    linear_r,
    mean_fsc,
    rms_displacement,
    rotation_slope,
    variance_explained,
)

PARTICLES = 5000
SCORED = 600
"""Particles of a half whose displacements are compared with the truth."""
IMAGES_AT_ONCE = 16


@dataclass(frozen=True)
class Judge:
    """Compares maps with the truth."""

    truth: Truth

    def state(self, volume: Tensor) -> np.ndarray:
        """The true conformation that the map matches best where the arm passes."""
        swing = self.truth.motion.swing
        swept = domain_mask(self.truth, None, self.truth.grid, ARM)
        render = partial(true_volume, self.truth, grid=self.truth.grid)
        return best_matching_state(volume, render, [(-swing, swing)], swept)

    def fsc(self, volume: Tensor, domain: int) -> float:
        """The mean FSC with the best-matching conformation, around one domain."""
        state = self.state(volume)
        mask = domain_mask(self.truth, state, self.truth.grid, domain)
        return mean_fsc(volume, true_volume(self.truth, state, self.truth.grid), mask)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder written by `dynaflex simulate --motion hinge`")
    options.add_argument("--run", type=Path, help="finished run directory of `dynaflex dynamight`")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or simulated(Path(scratch) / "data")
        run = given.run or trained(data, Path(scratch) / "run")
        for half in (1, 2):
            print(json.dumps(figures(run, data, half)), flush=True)


def simulated(out: Path) -> Path:
    """The data set of the benchmark."""
    _dynaflex("simulate", out, "--particles", PARTICLES, "--box", 64, "--snr", 0.1, "--motion", "hinge")
    return out


def trained(data: Path, run: Path) -> Path:
    """A run with default settings, its cost on a line of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    inputs = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    _dynaflex("dynamight", *inputs, "-o", run)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"benchmark": "hinge", "wall_s": time.perf_counter() - start, "cpu_s": cpu}), flush=True)
    return run


def _dynaflex(*arguments: object) -> None:
    command = "from dynaflex.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", command, *map(str, arguments)], check=True, stdout=sys.stderr)


def figures(run: Path, data: Path, half: int) -> dict[str, object]:
    """All scores of one half."""
    truth = read_truth(data / "truth.npz")
    scores = latent_scores(run, truth, half) | motion_scores(run, truth, half) | map_scores(run, data, truth, half)
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in scores.items()}
    return {"benchmark": "hinge", "half": half, **rounded}


def latent_scores(run: Path, truth: Truth, half: int) -> dict[str, float]:
    """How well the latents predict the true angle."""
    rows, latents = _latents(run, half)
    coordinate = truth.coordinate[rows]
    return {"knn_r2": float(knn_r2(latents, coordinate)[0]), "linear_r": float(linear_r(latents, coordinate)[0])}


def motion_scores(run: Path, truth: Truth, half: int) -> dict[str, float]:
    """How well the displacements of the atoms are predicted, in Å and as parts of their variance."""
    rows, _ = _latents(run, half)
    rows = np.sort(np.random.default_rng(half).choice(rows, min(SCORED, len(rows)), replace=False))
    points = truth.points.astype(np.float32)
    predicted, true = displacements(run, points, rows.tolist(), half), truth_displacement(truth, rows, truth.points)
    arm, body = (truth.domain == domain for domain in (ARM, BODY))
    hinge = truth.motion.rotors[0]
    return {
        "arm_variance_explained": variance_explained(predicted[:, arm], true[:, arm]),
        "arm_rotation_slope": rotation_slope(points[arm], predicted[:, arm], hinge.axis, truth.coordinate[rows, 0]),
        "arm_true_rms": rms_displacement(true[:, arm]),
        "arm_error_rms": rms_displacement(predicted[:, arm] - true[:, arm]),
        "body_motion_rms": rms_displacement(predicted[:, body]),
    }


def map_scores(run: Path, data: Path, truth: Truth, half: int) -> dict[str, float]:
    """Mean FSC with the truth of rigid, corrected and ideal maps, in the arm that moves and the body that does not."""
    judge = Judge(truth)
    maps = {
        "rigid": torch.from_numpy(read_map(run / "maps" / f"rigid_half{half}.mrc").data),
        "corrected": torch.from_numpy(read_map(run / "maps" / f"map_half{half}.mrc").data),
        "true_motion": true_motion_reconstruction(run, truth, half),
        "fourier_insertion": torch.from_numpy(reconstruct(data / "particles.star", half)).float(),
    }
    arm = {name: judge.fsc(volume, ARM) for name, volume in maps.items()}
    body = {name: judge.fsc(volume, BODY) for name, volume in maps.items()}
    return {
        **{f"arm_fsc_{name}": value for name, value in arm.items()},
        **{f"body_fsc_{name}": value for name, value in body.items()},
        "arm_gap_closed": gap_closed(arm["rigid"], arm["corrected"], arm["true_motion"]),
        "body_loss": body["fourier_insertion"] - body["corrected"],
        "matched_angle_deg": math.degrees(float(judge.state(maps["corrected"])[0])),
    }


def true_motion_reconstruction(run: Path, truth: Truth, half: int) -> Tensor:
    """The ideal: the solver and the images of the run, but every voxel moved as the nearest atom truly moved."""
    opened = Run.open(run)
    inputs = read_inputs(InputPaths.from_dict(opened.read_json("provenance.json")["inputs"]), config_of(opened))
    particles = inputs.particles.take(inputs.particles.half == half)
    coordinate = torch.from_numpy(truth.coordinate[particles.rows])
    cpu = torch.device("cpu")
    atoms = cKDTree(truth.points)

    def displacement(coordinate: Tensor, points: Tensor) -> Tensor:
        where = points.double().numpy()
        domain = truth.domain[atoms.query(where)[1]]
        return torch.from_numpy(truth.motion.displace(where, domain, coordinate.numpy()) - where).float()

    def batches(with_images: bool) -> Iterator[Views]:
        for part in torch.arange(len(particles)).split(IMAGES_AT_ONCE):
            imaging = inputs.full_imaging
            yield views(particles, part, coordinate[part], imaging, cpu, with_images=with_images)

    solver = SOLVERS[config_of(opened).solver]
    return solver(Operator(VoxelField(inputs.full_imaging.grid, displacement, cpu)), batches)


def _latents(run: Path, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the input table ``(p)`` and mean latents ``(p k)`` of one half."""
    with np.load(run / "latents.npz") as stored:
        mine = stored["half"] == half
        return stored["index"][mine], stored["mean"][mine]


if __name__ == "__main__":
    main()
