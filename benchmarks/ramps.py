"""What ice that grows thicker across the images does to a molecule at rest: one JSON line per method, rise and half.

    python benchmarks/ramps.py [--methods flex dynamight] [--rises 0 1 3]

1,200 particles, box 48 at 4 Å, SNR 0.1; trained, not reconstructed. A rise is the standard deviation of how much images
rise over their width along x and along y, in noise standard deviations.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from contrast import EPOCHS, figures
from judge import dynaflex, show, trained

from dynaflex.simulation.truth import read_truth


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    options.add_argument("--rises", nargs="+", type=float, default=[0.0, 1.0, 3.0])
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for rise in given.rises:
            data = Path(scratch) / f"ramps{rise}"
            size = ("--particles", 1200, "--box", 48, "--pixel-size", 4, "--snr", 0.1)
            dynaflex("simulate", data, "--motion", "none", "--ramp-spread", rise, *size)
            truth = read_truth(data / "truth.npz")
            for method in given.methods:
                run = Path(scratch) / f"{method}-{data.name}"
                trained(method, data, run, "--epochs", EPOCHS[method], "--until", "train")
                for half in (1, 2):
                    found = figures(run, truth, half)
                    line = {"benchmark": "ramps", "method": method, "rise": rise, "half": half}
                    show({**line, **{name: found[name] for name in ("motion_rms", "contrast_spread_found")}})


if __name__ == "__main__":
    main()
