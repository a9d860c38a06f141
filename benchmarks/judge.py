"""What a finished run of either method is judged by: its latents, its motion and its maps, against a known truth.

The scores are those of `dynaflex score`, and beside them those of a plain Fourier insertion of the same images, what
lies beyond the frequencies that training saw, and the cost.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from fourier_insertion import reconstruct

from dynaflex.judge import scoring
from dynaflex.judge.scene import Judge, Scene
from dynaflex.judge.scoring import IDEAL, half_maps, latent_scores, motion_scores
from dynaflex.results.reopen import Moved
from dynaflex.run.directory import Run


def figures(run: Path, data: Path, scene: Scene, half: int) -> dict[str, object]:
    """All scores of one half."""
    maps = half_maps(run, half)
    matched = Judge(scene).state(maps["corrected"])
    return {
        "half": half,
        **latent_scores(run, scene, half),
        **motion_scores(run, scene, half, matched),
        **map_scores(run, data, scene, half),
        "matched_state": matched.tolist(),
    }


def map_scores(run: Path, data: Path, scene: Scene, half: int) -> dict[str, float]:
    """Mean FSC with the truth of rigid, corrected and ideal maps, in what moves and in what does not.

    ``beyond`` are the means over the shells that training did not see, where there are any.
    """
    maps = half_maps(run, half) | {
        IDEAL: scoring.true_motion_reconstruction(run, scene, half, Moved()),
        "fourier_insertion": torch.from_numpy(reconstruct(data / "particles.star", half)).float(),
    }
    scores = scoring.map_scores(scene, maps)
    still = scene.still.name
    loss = scores[f"{still}_fsc_fourier_insertion"] - scores[f"{still}_fsc_corrected"]
    scores[f"{still}_loss_to_fourier_insertion"] = loss
    unseen = Run.open(run).read_json("grid.json")["train_box"] // 2 + 1
    if unseen < scene.grid.box // 2:
        judge = Judge(scene)
        for name, volume in maps.items():
            for part, curve in judge.curves(volume).items():
                scores[f"beyond_{part}_fsc_{name}"] = float(curve[unseen:-1].mean())
    return scores


def asked(doc: str | None, method: str, cases: Iterable[str]) -> argparse.Namespace:
    """What was typed: a ``case``, and ``data`` and a ``run`` of ``dynaflex METHOD`` that are to be scored."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("case", nargs="?", choices=list(cases), help="all where left out")
    options.add_argument("--data", type=Path, help="folder written by `dynaflex simulate`")
    options.add_argument("--run", type=Path, help=f"finished run directory of `dynaflex {method}`")
    given = options.parse_args()
    if given.run is not None and (given.case is None or given.data is None):
        options.error("--run needs a case and --data")
    return given


def trained(method: str, data: Path, run: Path, *options: object) -> Path:
    """A run of ``dynaflex METHOD`` on a simulated data set, its cost on a line of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    inputs = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    dynaflex(method, *inputs, "-o", run, *options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cost = {"wall_s": time.perf_counter() - start, "cpu_s": cpu, "peak_gb": after.ru_maxrss / 2**20}
    show({"method": method, "data": data.name, "options": [str(option) for option in options], **cost})
    return run


def dynaflex(*arguments: object) -> None:
    """A command, as a user would give it; what it prints goes to stderr."""
    command = "from dynaflex.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", command, *map(str, arguments)], check=True, stdout=sys.stderr)


def show(line: dict[str, object]) -> None:
    """One JSON line; what is not a number is null."""
    print(json.dumps({name: _rounded(value) for name, value in line.items()}), flush=True)


def _rounded(value: object) -> object:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
