"""What the final maps cost: CPU seconds a particle for the corrected and the rigid map, each from its own half.

    python benchmarks/reconstruct_cost.py [--box 128] [--before SOURCES]

A short run of each method on a hinge in a box of 192 Å, whose molecule and 20 Å around it are a third of the sphere
that fits into the box; then its maps, on one thread, with every particle taken once and taken many times. The
difference is the cost of a particle, what is left that of a run. ``SOURCES`` is another version's ``src`` folder: its
maps are made of the same run, each in a process of its own. One JSON line for each method and box.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from judge import dynaflex, show

PARTICLES, WIDTH, TRAIN_BOX = 24, 192.0, 48
METHODS = ("dynamight", "flex")
TIMES = {"before": 3, "now": 11}
"""How often every particle is taken, for the cost of one."""

MAKE_MAPS = """
import json, resource, sys, time
from pathlib import Path
import torch
from dynaflex.results import maps
from dynaflex.results.motion import measure_motion
from dynaflex.results.reopen import Moved, reopened
from dynaflex.results.support import Passes
from dynaflex.run.directory import Run

torch.set_num_threads(1)
run, times = Run.open(Path(sys.argv[1])), int(sys.argv[2])
inputs = reopened(run, Moved())
measure_motion(run, inputs, torch.device("cpu"))
once = Passes.__call__

def again(passes):
    for _ in range(times):
        yield from once(passes)

Passes.__call__ = again
started = time.process_time()
maps.reconstruct_run(run, inputs, torch.device("cpu"))
spent = time.process_time() - started
print(json.dumps({"cpu": spent, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--box", type=int, action="append")
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    for box in given.box or (128,):
        with tempfile.TemporaryDirectory() as scratch:
            for method in METHODS:
                run = trained(Path(scratch), method, box)
                figures: dict[str, object] = {"benchmark": "reconstruct_cost", "method": method, "box": box}
                for version, sources in (("before", given.before), ("now", None)):
                    if version == "now" or sources is not None:
                        figures |= {version: cost(run, version, sources)}
                show(figures)


def trained(folder: Path, method: str, box: int) -> Path:
    """A short run."""
    data, run = folder / "data", folder / method
    if not data.exists():
        dynaflex("simulate", data, "--particles", PARTICLES, "--box", box, "--pixel-size", WIDTH / box, "--snr", 0.1)
    files = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc", "-o", run)
    short = ("--train-box", TRAIN_BOX, "--batch-size", 4, "--epochs", 20, "--skip-check", "--until", "train")
    dynaflex(method, *files, *short)
    return run


def cost(run: Path, version: str, sources: Path | None) -> dict[str, float]:
    """CPU seconds of a particle and of a run, and peak GB, of the version in ``sources``."""
    once, often = (made(run, times, sources) for times in (1, TIMES[version]))
    each = (often["cpu"] - once["cpu"]) / (PARTICLES * (TIMES[version] - 1))
    rest = once["cpu"] - PARTICLES * each
    return {"seconds_a_particle": round(each, 4), "seconds_a_run": round(rest, 1), "peak_GB": round(often["peak"], 2)}


def made(run: Path, times: int, sources: Path | None) -> dict[str, float]:
    """What the maps of a run take that are made in a copy of it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if sources is not None:
        environment["PYTHONPATH"] = str(sources)
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(run, Path(scratch) / run.name)
        words = [sys.executable, "-c", MAKE_MAPS, str(copy), str(times)]
        out = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return dict(json.loads(out.splitlines()[-1]))


if __name__ == "__main__":
    main()
