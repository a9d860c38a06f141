"""What a second thread is worth: training and maps of both halves, in turn on one thread and on two, and side by side.

    python benchmarks/all_cores.py [--method flex] [--particles 1000] [--box 64] [--epochs 6] [--rounds 3]

The three ways take turns in every round, in one process and its workers. ``wall`` compares seconds that passed, and is
true on an idle machine alone; ``cpu`` compares CPU seconds of what has to be waited for: of all that one process did,
with that of the slower half where two work. It does not see how two processes share a memory and a cache, but whether
the machine does something else as well does not matter to it. Medians over the rounds; ``start`` is what it takes until
both workers are there. One JSON line for each method.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from dynaflex import pipeline
from dynaflex.prepare.device import with_threads
from dynaflex.prepare.inputs import read_inputs
from dynaflex.prepare.memory import memory_need
from dynaflex.prepare.paths import InputPaths
from dynaflex.prepare.simulated import Simulated
from dynaflex.results import maps, table
from dynaflex.results.alignment import rest_at_the_mean
from dynaflex.results.motion import measure_motion
from dynaflex.run.directory import Run
from dynaflex.run.stop import Stop
from dynaflex.simulation.particles import simulate
from dynaflex.training.installed import method_named
from dynaflex.training.loop import train_half
from dynaflex.training.method import Work
from dynaflex.workers.halves import Halves

CPU = torch.device("cpu")
WAYS = {"one": 1, "in_turn": 2, "side_by_side": 2}
"""The threads of each way to work on both halves; but for the last, it is one after the other."""


def main() -> None:
    """Time all ways for both methods."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", action="append")
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        simulate(data, given.particles, given.box, 192.0 / given.box, 0.3, "hinge", 0)
        for method in given.method or ("dynamight", "flex"):
            times: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for number in range(given.rounds):
                for way in WAYS:
                    times[way].append(timed(method, data, Path(folder) / f"{method}{number}{way}", way, given.epochs))
            told = {"benchmark": "all_cores", **vars(given), "method": method, **compared(times)}
            print(json.dumps(told), flush=True)


def compared(times: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """How many times faster than on one thread, by what is timed, and the load of the machine."""
    middle = {way: {name: median(one[name] for one in found) for name in found[0]} for way, found in times.items()}
    # The CPU seconds of a process are those of all its threads, of which one waits for another.
    ways = {"wall": ("in_turn", "side_by_side"), "cpu": ("side_by_side",)}
    faster = {
        f"{stage}_{clock}": {
            way: round(middle["one"][f"{stage}_{clock}"] / middle[way][f"{stage}_{clock}"], 2) for way in compare
        }
        for stage in ("train", "maps")
        for clock, compare in ways.items()
    }
    seconds = {name: round(value, 1) for name, value in middle["one"].items() if name != "start"}
    start = round(middle["side_by_side"]["start"], 1)
    return {"faster": faster, "seconds_of_one": seconds, "start": start, "load": round(os.getloadavg()[0], 1)}


def timed(name: str, data: Path, folder: Path, way: str, epochs: int) -> dict[str, float]:
    """Seconds and CPU seconds of the training and of the maps of a run, made one way."""
    method = method_named(name)
    config = method.config(epochs=epochs)
    made = Simulated(data)
    paths = InputPaths(made.particles, made.map, made.mask)
    inputs = read_inputs(paths, config)
    plan = method.examine(inputs, config)
    config = method.settled(config, plan)
    run = Run.create(folder, name, config.model_dump(), paths.as_dict())
    work = Work(run, inputs, config, plan, CPU)
    with run.locked(), with_threads(WAYS[way]), Halves(run, Stop(), CPU) as halves:
        pipeline.prepare(work, method)
        clock = Clock(halves.each if way == "side_by_side" else alone)
        started = time.monotonic()
        clock(nothing, (1, 2), 0)
        start = time.monotonic() - started
        training = partial(train_half, work, method)
        train = clock.of(lambda: clock(training, (1, 2), memory_need(inputs)))
        table.collect(run, inputs)
        rest_at_the_mean(run)
        measure_motion(run, inputs, CPU)
        last = clock.of(lambda: maps.reconstruct_run(run, inputs, CPU, clock))
    return {"start": start, "train_wall": train[0], "train_cpu": train[1], "maps_wall": last[0], "maps_cpu": last[1]}


class Clock:
    """Does work for halves as ``each`` does, and adds up the CPU seconds that had to be waited for."""

    def __init__(self, each: Callable[..., dict[int, Any]]) -> None:
        self.each = each
        self.waited = 0.0

    def __call__(self, work: Callable[..., Any], halves: Sequence[int], memory: int) -> dict[int, Any]:
        found = self.each(partial(counted, work), halves, memory)
        others = [cpu for pid, cpu, _ in found.values() if pid != os.getpid()]
        self.waited += max(others, default=0.0)
        return {half: result for half, (_, _, result) in found.items()}

    def of(self, work: Callable[[], object]) -> tuple[float, float]:
        """Seconds, and CPU seconds of this process and of the slower half."""
        self.waited, wall, cpu = 0.0, time.monotonic(), time.process_time()
        work()
        return time.monotonic() - wall, time.process_time() - cpu + self.waited


def counted(work: Callable[..., Any], half: int, stop: Stop) -> tuple[int, float, Any]:
    """Work, with the process that did it and the CPU seconds that it took."""
    started = time.process_time()
    result = work(half, stop)
    return os.getpid(), time.process_time() - started, result


def alone(work: Callable[..., Any], halves: Sequence[int], _memory: int) -> dict[int, Any]:
    """One after the other in this process."""
    return {half: work(half, Stop()) for half in halves}


def nothing(half: int, _stop: Stop) -> int:
    """What is done before the clock runs, so that both workers are there."""
    return half


if __name__ == "__main__":
    # By its name, as workers know it.
    from all_cores import main as named

    named()
