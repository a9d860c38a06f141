"""What images cost that are kept ready on a disk, and in memory: the pass that prepares them, waiting, and memory.

    python benchmarks/input.py [--particles 2000 20000] [--box 64] [--train-box 32] [--steps 200]

The rows of a small simulated table are repeated, so that large tables cost no disk but that of their caches. Each line
is a process of its own, which reads the table, prepares images (``pass_cpu``: CPU seconds for the ``prepared`` ones),
trains DynaMight for some steps in the order of an epoch, and reads whole images one after the other, as maps need them.
The cache is dropped from the memory of the system before each of the two, so that its images come from the disk.
``wait`` is the share of a step's seconds in which images are waited for, ``wait_cpu`` that of its CPU seconds, which
other work on the machine does not change, and ``whole_ms`` what a whole image takes.
``peak_mb`` is the process's largest memory, and ``table_mb`` what it was before any image was read. One JSON line each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynaflex.imaging.noise import noise_weights
from dynaflex.io.star import read_star, write_star
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.prepare.images import ParticleImages
from dynaflex.prepare.inputs import read_inputs
from dynaflex.prepare.memory import at_hand
from dynaflex.prepare.paths import InputPaths
from dynaflex.results.reopen import remember
from dynaflex.run.directory import Run
from dynaflex.simulation.particles import simulate
from dynaflex.spent import memory_mb
from dynaflex.training.installed import method_named
from dynaflex.training.loop import half_set
from dynaflex.training.method import Work

CPU = torch.device("cpu")
FEW = 2000


def main() -> None:
    """One line for each size and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--train-box", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--ways", nargs="+", default=["memory", "cache"])
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measured(**given.one)), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        simulate(small, FEW, given.box, 192.0 / given.box, 0.3, "hinge", 0)
        for count in given.particles:
            data = repeated(small, Path(folder) / f"{count}", count)
            for way in given.ways:
                asked = {"data": str(data), "way": way, "train_box": given.train_box, "steps": given.steps}
                subprocess.run([sys.executable, __file__, "--one", json.dumps(asked)], check=True)
                shutil.rmtree(data / "run")


def repeated(small: Path, data: Path, count: int) -> Path:
    """The data set with its rows repeated to so many, and links to its images."""
    data.mkdir()
    star = read_star(small / "particles.star")
    rows = star.blocks["particles"]
    star.blocks["particles"] = rows.iloc[np.arange(count) % len(rows)].reset_index(drop=True)
    write_star(star, data / "particles.star")
    for name in ("particles.mrcs", "consensus.mrc", "mask.mrc"):
        (data / name).symlink_to(small / name)
    return data


def measured(data: str, way: str, train_box: int, steps: int) -> dict[str, Any]:
    """The figures of one way to keep images."""
    torch.set_num_threads(1)
    folder = Path(data)
    config = DynamightConfig(train_box=train_box, n_gaussians=1000)
    method = method_named("dynamight")
    names = ("particles.star", "consensus.mrc", "mask.mrc")
    inputs = read_inputs(InputPaths(*(folder / name for name in names)), config)
    run = Run.create(folder / "run", "dynamight", config.model_dump(), inputs.paths.as_dict())
    remember(run, inputs)
    plan = method.examine(inputs, config)
    table, began = memory_mb(), time.process_time()
    if way == "cache":
        inputs = at_hand(run, inputs, folder / "run" / "cache", make=True)
    work = Work(run, inputs, config, plan, CPU)
    half, training = half_set(work, 1)
    taken = time.process_time() - began
    trainer = method.trainer(work, half, training)
    weights = noise_weights(trainer.progress.noise_power, half.grid)
    accumulate = partial(trainer._accumulate, weights=weights, phase="joint")  # type: ignore[attr-defined]
    waiting = Waiting(half.normalised)
    half.normalised = waiting  # type: ignore[method-assign]
    dropped(inputs.imaging.stored)
    began, working = time.monotonic(), time.process_time()
    for batch in islice(half.batches(training, config.batch_size, config.latent_dim, (0, 1, 0, 1)), steps):
        trainer.steps.take([batch], accumulate, trainer.optimisers.values())
    stepping, working = time.monotonic() - began, time.process_time() - working
    whole = ParticleImages(inputs.particles, inputs.full_imaging, CPU)
    dropped(inputs.full_imaging.stored)
    order = torch.from_numpy(np.flatnonzero(inputs.members(1)))[:2000]
    began = time.monotonic()
    for part in order.split(16):
        whole.normalised(part)
    reading = time.monotonic() - began
    return {
        "benchmark": "input", "particles": len(inputs.particles), "way": way, "box": inputs.full_imaging.grid.box,
        "train_box": train_box, "prepared": len(inputs.particles) if way == "cache" else len(half),
        "pass_cpu": round(taken, 2), "step_ms": round(1e3 * stepping / steps, 2),
        "wait": round(waiting.seconds / stepping, 4), "wait_cpu": round(waiting.cpu / working, 4),
        "whole_ms": round(1e3 * reading / len(order), 3),
        "table_mb": round(table), "peak_mb": round(memory_mb()), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


class Waiting:
    """A function, and the seconds and CPU seconds that it took in all."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.seconds = self.cpu = 0.0

    def __call__(self, *given: Any) -> Any:
        began, working = time.monotonic(), time.process_time()
        result = self.function(*given)
        self.seconds += time.monotonic() - began
        self.cpu += time.process_time() - working
        return result


def dropped(stored: Any) -> None:
    """Have the system forget what it keeps in memory of a file."""
    if stored is not None:
        with stored.path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
