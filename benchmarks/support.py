"""Whether a motion that is there is supported and one that is not is none: one JSON line per method, set and half.

    python benchmarks/support.py [--methods flex dynamight] [--motions none hinge] [--spreads 0 0.3] [--snr 0.1]

1,200 particles, box 48 at 4 Å; trained, not reconstructed. Nats a held-out particle, as in ``support.json``.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from itertools import product
from pathlib import Path

import torch
from judge import dynaflex, show, trained

from dynaflex.results.support import SUPPORT, Support
from dynaflex.run.directory import Run

EPOCHS = {"flex": 30, "dynamight": 25}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    options.add_argument("--motions", nargs="+", default=["none", "hinge", "two-hinge"])
    options.add_argument("--spreads", nargs="+", type=float, default=[0.0, 0.3])
    options.add_argument("--snr", type=float, default=0.1)
    given = options.parse_args()
    torch.set_num_threads(1)
    size = ("--particles", 1200, "--box", 48, "--pixel-size", 4, "--snr", given.snr)
    with tempfile.TemporaryDirectory() as scratch:
        for motion, spread in product(given.motions, given.spreads):
            data = Path(scratch) / f"{motion}{spread}"
            dynaflex("simulate", data, "--motion", motion, "--contrast-spread", spread, *size)
            for method in given.methods:
                run = Path(scratch) / f"{method}-{data.name}"
                trained(method, data, run, "--epochs", EPOCHS[method], "--until", "train")
                record = Run.open(run).read_json(SUPPORT)
                for half in (1, 2):
                    found = Support(**record[f"half{half}"])
                    line = {"benchmark": "support", "method": method, "motion": motion, "spread": spread, "half": half}
                    show({**line, **asdict(found), "permuted": found.permuted, "supported": found.holds})


if __name__ == "__main__":
    main()
