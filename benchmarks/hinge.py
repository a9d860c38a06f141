"""How much of a known hinge motion DynaMight recovers, and what it gains: one JSON line per half, one for the cost.

python benchmarks/hinge.py --data SIM --run RUN     score a finished run on the output of `dynaflex simulate`
python benchmarks/hinge.py                          simulate, run with default settings, and score
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from judge import figures, show, trained
from simulated import scene_of, simulated


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder written by `dynaflex simulate --motion hinge`")
    options.add_argument("--run", type=Path, help="finished run directory of `dynaflex dynamight`")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or simulated(Path(scratch) / "hinge", "hinge")
        run = given.run or trained("dynamight", data, Path(scratch) / "run")
        for half in (1, 2):
            show({"benchmark": "hinge", **figures(run, data, scene_of(data), half)})


if __name__ == "__main__":
    main()
