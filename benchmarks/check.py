"""How sure `dynaflex check` is: planted misreadings, planted leaks, and the time that it takes.

    python benchmarks/check.py [--seeds 3] [--rounds 20]

Misreadings: 600 simulated particles of a hinge, box 64, SNR 0.03; every mistake of tests/planted.py is planted in each
of the data sets, and the reading that undoes it must come out first (or, for shuffled rows, none). Leaks: data sets of
1,000 particles, box 32, SNR 0.1, searched as they are and after 2 % of the images of one half were replaced by moved
and rescaled copies of images of the other, under another file name. Time: one process, one thread, by box.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dynaflex.checking.check import compare_readings
from dynaflex.checking.leak_search import find_leaks
from dynaflex.checking.readings import Comparison
from dynaflex.data.particles import read_particles
from dynaflex.io.mrc import read_map
from dynaflex.simulation.particles import simulate

# The mistakes are those of the tests: they are planted without any of the code that finds them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from planted import PLANTS, plant_copies

PARTICLES, BOX, PIXEL_SIZE, SNR = 600, 64, 3.0, 0.03
TIMED = ((64, 3.0, 600), (128, 1.5, 600), (256, 1.06, 500))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="data sets to plant every misreading in")
    parser.add_argument("--rounds", type=int, default=20, help="data sets with and without leaks")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        misreadings(folder, given.seeds)
        leaks(folder, given.rounds)
        timing(folder)


def misreadings(scratch: Path, seeds: int) -> None:
    """One line for each mistake, over all seeds, and one for the data as they are."""
    clean = [scratch / f"clean{seed}" for seed in range(seeds)]
    for seed, folder in enumerate(clean):
        simulate(folder, PARTICLES, BOX, PIXEL_SIZE, SNR, "hinge", seed)
    right = [compared(folder) for folder in clean]
    report("none", [found.better is None and found.matches for found in right], right)
    for name, plant in PLANTS.items():
        wrong = []
        for folder in clean:
            shutil.rmtree(scratch / "spoiled", ignore_errors=True)
            shutil.copytree(folder, scratch / "spoiled")
            plant.make(scratch / "spoiled")
            wrong.append(compared(scratch / "spoiled"))
        report(name, [named(found) == plant.reading for found in wrong], wrong)


def compared(folder: Path) -> Comparison:
    particles = read_particles(folder / "particles.star")
    consensus, mask = (torch.from_numpy(read_map(folder / f"{name}.mrc").data) for name in ("consensus", "mask"))
    return compare_readings(particles, consensus, mask)


def named(found: Comparison) -> str | None:
    return None if found.better is None else found.better.name


def report(name: str, right: list[bool], found: list[Comparison]) -> None:
    best = [comparison.others[0] for comparison in found]
    line = {
        "planted": name,
        "right": sum(right),
        "of": len(right),
        "z_as_given": [round(comparison.given.z, 1) for comparison in found],
        "z_best_other": [round(score.z, 1) for score in best],
        "gain_of_best_other": [round(score.gain, 1) for score in best],
        "best_other": sorted({score.name for score in best}),
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)


def leaks(scratch: Path, rounds: int) -> None:
    """How many of the data sets with copies are found to have them, whole or in part, and how many of those without."""
    false, caught, pairs, planted, seconds = 0, 0, 0, 0, 0.0
    for seed in range(rounds):
        folder = scratch / "leaky"
        shutil.rmtree(folder, ignore_errors=True)
        simulate(folder, 1000, 32, 6.0, 0.1, "hinge", 100 + seed)
        started = time.perf_counter()
        false += bool(find_leaks(read_particles(folder / "particles.star")).copies)
        seconds += time.perf_counter() - started
        there = plant_copies(folder, 0.02, np.random.default_rng(seed))
        found = {(copy.row, copy.other_row) for copy in find_leaks(read_particles(folder / "particles.star")).copies}
        caught += bool(found)
        pairs += len(found & there)
        planted += len(there)
    line = {
        "leaks": rounds, "found": caught, "false_alarms": false, "pairs_planted": planted, "pairs_found": pairs,
        "seconds_each": round(seconds / max(1, rounds), 2),
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def timing(scratch: Path) -> None:
    """Seconds of the comparison of readings and of the leak search."""
    for box, pixel_size, particles in TIMED:
        folder = scratch / f"timed{box}"
        simulate(folder, particles, box, pixel_size, SNR, "hinge", 0)
        started = time.perf_counter()
        found = compared(folder)
        middle = time.perf_counter()
        find_leaks(read_particles(folder / "particles.star"))
        ended = time.perf_counter()
        line = {
            "box": box, "particles": particles, "compared": found.particles, "readings": 1 + len(found.others),
            "readings_seconds": round(middle - started, 1), "leaks_seconds": round(ended - middle, 1),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
