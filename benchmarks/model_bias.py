"""Is a domain found out that an atomic model has and the images have not? One JSON line per model and half.

    python benchmarks/model_bias.py [--models none right ring elsewhere] [--data SIM]

DynaMight on a hinge, 1,500 particles, box 48 at 4 Å, started from the simulated atoms as C-alpha atoms: as they are,
with the arm in a flat ring in its place, or with the arm turned about the body to where nothing is.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from judge import dynaflex, show, trained
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from simulated import scene_of

from dynaflex.judge.model_bias import of_model_bias
from dynaflex.judge.scene import SimulatedScene
from dynaflex.run.directory import Run
from dynaflex.shapes import Array
from dynaflex.simulation.molecule import ARM, BODY

STEP = 3.8


def ring(scene: SimulatedScene) -> Array:
    """The arm's atoms as the coils of a flat ring about the arm's centre."""
    arm = scene.points[scene.domain == ARM]
    center = arm.mean(axis=0)
    _, width, axes = np.linalg.svd(arm - center, full_matrices=False)
    radius = 0.9 * np.sqrt(5.0 / len(arm)) * width.mean()
    angle, coil = np.arange(len(arm)) * 0.95 / radius, 6.0 * np.sin(0.9 * np.arange(len(arm)))
    return center + np.stack([radius * np.cos(angle), radius * np.sin(angle), coil], axis=1) @ axes


def elsewhere(scene: SimulatedScene) -> Array:
    """The arm turned about the body to the place in the box that is farthest from where it is, touching nothing."""
    arm, rest = scene.points[scene.domain == ARM], scene.points[scene.domain != ARM]
    body, others, best = scene.points[scene.domain == BODY].mean(axis=0), cKDTree(rest), arm
    reach = 0.5 * scene.grid.box * scene.grid.pixel_size - 4.0 * scene.grid.pixel_size
    for seed in range(400):
        turned = (arm - body) @ Rotation.random(random_state=seed).as_matrix().T + body
        free = np.abs(turned).max() < reach and others.query(turned)[0].min() > STEP
        if free and np.linalg.norm((turned - arm).mean(axis=0)) > np.linalg.norm((best - arm).mean(axis=0)):
            best = turned
    return np.asarray(best)


def write_model(path: Path, scene: SimulatedScene, arm: Array) -> Path:
    """A PDB file of C-alpha atoms with the arm's at ``arm`` ``(n 3)``, in the frame of the maps."""
    points = scene.points.copy()
    points[scene.domain == ARM] = arm
    rows = [
        f"ATOM  {i:5d}  CA  GLY A{i:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C\n"
        for i, (x, y, z) in enumerate(points + scene.grid.center * scene.grid.pixel_size, 1)
    ]
    path.write_text("".join(rows) + "END\n")
    return path


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", nargs="+", default=["none", "right", "ring", "elsewhere"])
    options.add_argument("--data", type=Path, help="folder written by `dynaflex simulate --motion hinge`")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or Path(scratch) / "hinge"
        if given.data is None:
            dynaflex("simulate", data, "--particles", 1500, "--box", 48, "--pixel-size", 4, "--snr", 0.1)
        scene = scene_of(data)
        arms = {"right": scene.points[scene.domain == ARM], "ring": ring(scene), "elsewhere": elsewhere(scene)}
        for name in given.models:
            path = Path(scratch) / f"{name}.pdb"
            model = () if name == "none" else ("--model", write_model(path, scene, arms[name]))
            run = trained("dynamight", data, Path(scratch) / f"{name}-run", *model, "--epochs", 30)
            for control in of_model_bias(Run.open(run)):
                found = {"verdict": control.verdict, "share": control.value, "error": control.chance}
                show({"benchmark": "model_bias", "model": name, "control": control.name, **found})


if __name__ == "__main__":
    main()
