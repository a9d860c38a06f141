"""Real molecules, moving and rigid: what a method with default settings finds in them. One JSON line per run.

    python benchmarks/molecules.py                              adenylate kinase with both methods
    python benchmarks/molecules.py MOLECULE METHOD [--rigid]    a molecule; --rigid lets nothing move
    python benchmarks/molecules.py MOLECULE METHOD --out DIR    the same, kept: DIR/particles and DIR/METHOD
    python benchmarks/molecules.py MOLECULE METHOD --rigid --pose-errors 2 1      poses wrong by 2 degrees and 1 Å

Molecules: adenylate kinase closes, a domain of the spike opens, a ring of GroEL rises, a Fab of an antibody turns, and
the made-up molecules of `dynaflex simulate`. Every figure is a list of those of the two halves. The structures come
from `../shared/data`; where they are absent there is nothing to do, and the script says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import contrast
import numpy as np
import starfile
import torch
from bodies import BodyScene, read_scene, write_data_set
from judge import show, trained
from scipy.spatial.transform import Rotation
from spike_scene import FILE, spike
from structures import adenylate_kinase, antibody, groel, made_up

from dynaflex.grid import Grid
from dynaflex.judge import scoring
from dynaflex.judge.scene import Judge
from dynaflex.judge.scoring import IDEAL, half_maps, motion_scores
from dynaflex.results.reopen import Moved
from dynaflex.results.support import SUPPORT, Support
from dynaflex.run.directory import Run

ROOT = Path(__file__).resolve().parents[1]
STRUCTURES = ROOT.parent / "shared" / "data" / "structures"


def _hinge(_: Path, particles: int, grid: Grid, seed: int) -> BodyScene:
    return made_up("hinge", grid.width, particles, grid, seed)


def _touching(_: Path, particles: int, grid: Grid, seed: int) -> BodyScene:
    """In a box a third wider than `simulate` would have it."""
    return made_up("touching", 0.75 * grid.width, particles, grid, seed)


def _spike(folder: Path, particles: int, grid: Grid, seed: int) -> BodyScene:
    return spike(folder / FILE, [0, 1], particles, grid, seed)


MOLECULES: dict[str, tuple[Callable[[Path, int, Grid, int], BodyScene], Grid]] = {
    "adenylate-kinase": (adenylate_kinase, Grid(32, 4.05)),
    "antibody": (antibody, Grid(40, 5.0)),
    "groel": (groel, Grid(48, 5.0)),
    "spike": (_spike, Grid(48, 5.0)),
    "hinge": (_hinge, Grid(40, 4.0)),
    "touching": (_touching, Grid(48, 4.0)),
}
"""What makes each, and a grid that it fits."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("molecule", choices=list(MOLECULES), nargs="?", default="adenylate-kinase")
    options.add_argument("method", choices=("flex", "dynamight"), nargs="?", help="default: both")
    options.add_argument("--rigid", action="store_true", help="let nothing move")
    options.add_argument("--contrast-spread", type=float, default=0.0)
    options.add_argument("--ramp-spread", type=float, default=0.0)
    options.add_argument("--pose-errors", type=float, nargs=2, default=(0.0, 0.0), metavar=("DEGREES", "Å"))
    options.add_argument("--particles", type=int, default=1200)
    options.add_argument("--box", type=int, help="default: one that the molecule fits")
    options.add_argument("--pixel-size", type=float, help="in Å; default: such that the molecule fits")
    options.add_argument("--snr", type=float, default=0.1)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, help="folder for particles and runs; default: a temporary one")
    options.add_argument("--structures", type=Path, default=STRUCTURES, help="folder of the structures")
    given = options.parse_args()
    torch.set_num_threads(1)
    if not given.structures.is_dir():
        print(f"skipped: no structures at {given.structures}", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        data = out / "particles"
        if not (data / "truth.npz").is_file():
            scene = scene_of(given)
            write_data_set(data, scene, given.snr, given.seed, given.contrast_spread, given.ramp_spread)
            if any(given.pose_errors):
                misplace(data / "particles.star", *given.pose_errors, given.seed)
        asked = ("molecule", "rigid", "contrast_spread", "ramp_spread", "pose_errors", "particles", "snr", "seed")
        for method in (given.method,) if given.method else ("flex", "dynamight"):
            run = trained(method, data, out / method)
            told = {"benchmark": "molecules", "method": method, **{name: vars(given)[name] for name in asked}}
            show({**told, **figures(run, read_scene(data / "truth.npz"))})


def scene_of(given: argparse.Namespace) -> BodyScene:
    """The molecule that was asked for, moving or not."""
    make, usual = MOLECULES[given.molecule]
    grid = Grid(given.box or usual.box, given.pixel_size or usual.pixel_size)
    scene = make(given.structures, given.particles, grid, given.seed)
    return scene.at_rest() if given.rigid else scene


def misplace(table: Path, degrees: float, distance: float, seed: int) -> None:
    """Turn the particles of a ``table`` by some ``degrees`` about each axis, and shift them by a ``distance`` in Å
    along each: the deviations of normal errors."""
    random = np.random.default_rng([seed, 3])
    blocks = starfile.read(table, always_dict=True)
    particles = blocks["particles"]
    angles, origins = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"], ["rlnOriginXAngst", "rlnOriginYAngst"]
    true = Rotation.from_euler("ZYZ", particles[angles].to_numpy(), degrees=True)
    error = Rotation.from_rotvec(random.normal(scale=degrees, size=(len(particles), 3)), degrees=True)
    particles[angles] = (true * error).as_euler("ZYZ", degrees=True)
    particles[origins] += random.normal(scale=distance, size=(len(particles), 2))
    starfile.write(blocks, table, overwrite=True)


def figures(run: Path, scene: BodyScene) -> dict[str, object]:
    """All scores, each as those of half 1 and half 2."""
    halves = [half_figures(run, scene, half) for half in (1, 2)]
    grid = {"box": scene.grid.box, "pixel_size": scene.grid.pixel_size}
    return {**grid, **{name: [half[name] for half in halves] for name in halves[0]}}


def half_figures(run: Path, scene: BodyScene, half: int) -> dict[str, object]:
    """The verdict of held-out images, what the latents tell, the motion and the maps, against the truth.

    ``motion_rms`` is that of landmarks over the particles: all of it is false where the molecule is rigid.
    """
    support = Support(**Run.open(run).read_json(SUPPORT)[f"half{half}"])
    maps = half_maps(run, half)
    if scene.moving:
        maps[IDEAL] = scoring.true_motion_reconstruction(run, scene, half, Moved())
    return {
        "supported": support.holds,
        **asdict(support),
        "permuted": support.permuted,
        "whole": support.whole,
        **contrast.figures(run, scene, half),
        **motion_scores(run, scene, half, Judge(scene).state(maps["corrected"])),
        **scoring.map_scores(scene, maps),
    }


if __name__ == "__main__":
    main()
