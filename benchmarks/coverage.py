"""How often the truth lies within the intervals of displacements: one JSON line per half.

    python benchmarks/coverage.py --data SIM --run RUN     a finished run on the output of `dynaflex simulate`
    python benchmarks/coverage.py --method flex            simulate, run with default settings, and ask

All atoms in 300 particles of each half, x, y and z alone, the mean over the particles taken off truth and prediction.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from judge import show, trained
from simulated import scene_of, simulated

from dynaflex.judge.scene import Judge, SimulatedScene
from dynaflex.judge.scoring import half_maps
from dynaflex.results.certainty import displacement_errors
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import read_motion
from dynaflex.shapes import Array

ASKED, LEVEL = 300, 0.9


def coverage(run: Path, scene: SimulatedScene, half: int) -> dict[str, object]:
    """The share of true displacements within their intervals, and the errors that were and that were told, Å rms."""
    opened = Run.open(run)
    model, maps = load_half(opened, half), half_maps(run, half)
    state = Judge(scene).state(maps["corrected"]) if maps else np.zeros(len(scene.moving))
    shift = scene.displacement(scene.points, scene.domain, state[None])[0]
    rows = np.sort(np.random.default_rng(half).permutation(model.rows.numpy())[:ASKED])
    found = displacement_errors(opened, model, (scene.points + shift).astype(np.float32), rows.tolist())
    true = scene.displacement(scene.points, scene.domain, scene.coordinate)
    true = true[rows] - true[model.rows.numpy()].mean(axis=0)
    low, high = found.interval(LEVEL)
    covered, wrong = (low < true) & (true < high), found.displacement - true
    shown: dict[str, object] = {"half": half, "unit_variance": float(read_motion(opened).unit_variance)}
    parts = {part.name: scene.domain == part.index for part in (*scene.moving, scene.still)}
    for name, mine in {"whole": np.full(len(scene.points), True), **parts}.items():
        shown[f"{name}_coverage"] = float(covered[:, mine].mean())
        shown |= {f"{name}_error_rms": _rms(wrong[:, mine]), f"{name}_told_rms": _rms(found.error[:, mine])}
    return shown


def _rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).sum(axis=-1).mean()))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder written by `dynaflex simulate`")
    options.add_argument("--run", type=Path, help="run directory, trained on it")
    options.add_argument("--method", choices=("dynamight", "flex"), default="dynamight")
    options.add_argument("--motion", default="hinge")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or simulated(Path(scratch) / given.motion, given.motion)
        run = given.run or trained(given.method, data, Path(scratch) / "run")
        for half in (1, 2):
            show({"benchmark": "coverage", "data": data.name, **coverage(run, scene_of(data), half)})


if __name__ == "__main__":
    main()
