"""What is found of a motion in tilt series, and where their images are taken for particles: a JSON line for each half.

    python benchmarks/tilt_series.py [--methods flex dynamight] [--particles 300] [--tilts 10] [--snr 0.1] [--apart]

A hinge in box 32 at 6 Å by default, all settings of the methods as they are. With --apart the same images are also
given as a table of single particles, without their dose.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from judge import dynaflex, show

from dynaflex.data.columns import PARTICLE, particle_block
from dynaflex.data.foreign.tables import read_table
from dynaflex.io.star import write_star
from dynaflex.judge.scoring import score_run
from dynaflex.results.reopen import Moved
from dynaflex.run.directory import Run

TOGETHER, APART = "optimisation_set.star", "apart.star"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", nargs="+", default=["flex", "dynamight"])
    options.add_argument("--motion", default="hinge")
    for name, value in (("particles", 300), ("tilts", 10), ("box", 32)):
        options.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("pixel-size", 6.0), ("snr", 0.1)):
        options.add_argument(f"--{name}", type=float, default=value)
    options.add_argument("--apart", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    size = {name: getattr(given, name) for name in ("motion", "particles", "tilts", "box", "pixel_size", "snr")}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        dynaflex("simulate", data, *(part for name, value in size.items() for part in (option(name), value)))
        tables = [TOGETHER, *([take_apart(data)] if given.apart else [])]
        for method in given.methods:
            for table in tables:
                run = Path(scratch) / f"{method}-{table}"
                files = (data / table, "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
                dynaflex(method, *files, "-o", run, "--until", "reconstruct")
                scores = score_run(Run.open(run), data / "truth.npz", 1, False, Moved())
                for half in ("half1", "half2"):
                    line = {"benchmark": "tilt_series", "method": method, "images": table.partition(".")[0], **size}
                    show({**line, "half": half, **scores[half]})


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def take_apart(data: Path) -> str:
    """The same images in a table that does not say which are of one particle."""
    star = read_table(data / TOGETHER)
    block = particle_block(star)
    for name in ("optics", block):
        table = star.blocks[name]
        star.blocks[name] = table[[label for label in table.columns if not label.startswith(PARTICLE[:7])]]
    star.blocks = {name: star.blocks[name] for name in ("optics", block)}
    write_star(star, data / APART)
    return APART


if __name__ == "__main__":
    main()
