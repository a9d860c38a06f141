"""What more processes on a half are worth: its training, the map of 3DFlex and its last latents, on one and on more.

    python benchmarks/ranks.py [--method flex] [--ranks 2] [--particles 1000] [--box 64] [--batch-size 64] [--epochs 2]

``efficiency`` is what one rank takes over what all of n take together. ``wall`` compares seconds that passed, and is
true on an idle machine with a core for each rank alone; ``cpu`` compares the CPU seconds of one with n times those of
the slowest, exchange included: whether the machine does something else as well does not matter to it, but it does not
see how ranks wait for each other. One JSON line for each method.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dynaflex import ranks
from dynaflex.prepare.device import with_threads
from dynaflex.prepare.inputs import read_inputs
from dynaflex.prepare.paths import InputPaths
from dynaflex.run.directory import Run
from dynaflex.run.stop import Stop
from dynaflex.simulation.particles import simulate
from dynaflex.training.final_latents import find_final_latents
from dynaflex.training.installed import method_named
from dynaflex.training.loop import half_set
from dynaflex.training.method import AnyMethod, AnyWork
from dynaflex.workers.crew import LocalCrew
from dynaflex.workers.halves import Halves

CPU = torch.device("cpu")


def main() -> None:
    """Time one rank and several, for both methods."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", action="append")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, with_threads(1):
        data = Path(folder) / "data"
        simulate(data, given.particles, given.box, 192.0 / given.box, 0.3, "hinge", 0)
        for name in given.method or ("dynamight", "flex"):
            one, several = (
                timed(name, data, Path(folder) / f"{name}{count}", count, given.batch_size, given.epochs)
                for count in (1, given.ranks)
            )
            print(json.dumps({"method": name, "ranks": given.ranks, **compared(one, several, given.ranks)}), flush=True)


def compared(one: dict[str, Any], several: dict[str, Any], count: int) -> dict[str, Any]:
    """Seconds of one rank and of the slowest of several, and their efficiency, of each part of the work."""
    found: dict[str, Any] = {}
    for part, alone in one.items():
        slowest = {kind: max(values) for kind, values in several[part].items()}
        found[part] = {
            kind: {
                "one": round(max(values), 2),
                "slowest": round(slowest[kind], 2),
                "efficiency": round(max(values) / count / slowest[kind], 3),
            }
            for kind, values in alone.items()
        }
    return found


def timed(name: str, data: Path, path: Path, count: int, batch_size: int, epochs: int) -> dict[str, Any]:
    """Seconds of all ranks for the work on half 1."""
    method = method_named(name)
    config = method.config(batch_size=batch_size, epochs=max(20, epochs + 2))
    paths = InputPaths(data / "particles.star", data / "consensus.mrc", data / "mask.mrc")
    inputs = read_inputs(paths, config)
    plan = method.examine(inputs, config)
    run = Run.create(path, name, config.model_dump(), paths.as_dict())
    work = AnyWork(run, inputs.without_table(), config, plan, CPU)
    with run.locked(), Halves(run, Stop(), CPU, LocalCrew(range(count), "cpu", str(path))) as halves:
        # Other processes find it in its own module, not in the one that was started.
        measure = import_module(Path(__file__).stem).measured
        (seconds,) = halves.each(partial(measure, work, method, epochs), (1,), 0).values()
    return seconds


def measured(work: AnyWork, method: AnyMethod, epochs: int, half: int, _stop: Stop) -> dict[str, Any]:
    """CPU and wall seconds of every rank, after a first epoch in which all is found that is found once."""
    trainer = method.trainer(work, *half_set(work, half))
    parts: dict[str, Any] = {}

    def epoch() -> None:
        trainer.run_epoch(lambda _figures: None, lambda _done, _total: None)

    def taken(part: str, act: Any) -> None:
        ranks.summed(torch.zeros(1))
        cpu, wall = time.process_time(), time.monotonic()
        act()
        parts[part] = {"cpu": every(time.process_time() - cpu), "wall": every(time.monotonic() - wall)}

    taken("start", epoch)
    taken("training", lambda: [epoch() for _ in range(epochs)])
    if hasattr(trainer, "solver"):
        noise = trainer.progress.noise_power
        taken("map", lambda: trainer.solver.solved(
            trainer.table.mean_of, noise, band=work.inputs.imaging.grid.n_shells - 2, iterations=3,
            every_batch=lambda _done, _total: None,
        ))  # fmt: skip
    taken("latents", lambda: find_final_latents(work.run, trainer))
    return parts


def every(seconds: float) -> list[float]:
    """The seconds of every rank."""
    mine = torch.zeros(ranks.size(), dtype=torch.float64)
    mine[ranks.rank()] = seconds
    return ranks.summed(mine).tolist()


if __name__ == "__main__":
    main()
