"""Whether 3DFlex learns the noise of particles that it trains on: one JSON line per half, one for the cost of a run.

    python benchmarks/overfit.py hinge48                        simulate, run with default settings, and score
    python benchmarks/overfit.py hinge48 --data SIM --run RUN   score a finished run on a simulated data set

`gap` is the mean loss of particles held out less that of those in training, in nats a particle: before the first map,
in the first epoch of the flow with the whole band, and in the last. How alike the two sets are by chance is in it, so
that only its growth means anything. `from_best` is what the last epoch's held-out likelihood lacks to that of the best
epoch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from judge import asked, dynaflex, figures, show, trained
from simulated import scene_of

from dynaflex.run.directory import Run

CASES: dict[str, tuple[object, ...]] = {
    "hinge48": ("--particles", 1600, "--box", 48, "--pixel-size", 4, "--snr", 0.05),
    "hinge64": ("--particles", 1500, "--box", 64, "--snr", 0.1),
    "touching48": ("--particles", 2000, "--box", 48, "--pixel-size", 4, "--snr", 0.1, "--seed", 3),
}
WHOLE_BAND = 0.75
"""The share of the epochs after which the map has its whole band."""


def main() -> None:
    given = asked(__doc__, "flex", CASES)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES if given.case is None else [given.case]:
            data = given.data or simulated(Path(scratch) / case, case)
            run = given.run or trained("flex", data, Path(scratch) / f"{case}-run")
            for half in (1, 2):
                show({"benchmark": case, **overfitting(run, half), **figures(run, data, scene_of(data), half)})


def simulated(out: Path, case: str) -> Path:
    """The data set of a case, whose motion is its name less the box."""
    dynaflex("simulate", out, "--motion", case.rstrip("0123456789"), *CASES[case])
    return out


def overfitting(run: Path, half: int) -> dict[str, object]:
    """What the epochs of a half say of particles in training and of those held out."""
    lines = [line for line in Run.open(run).metrics.lines() if line.get("half") == half]
    flow = [line for line in lines if line["phase"] == "flow"]
    gaps = {line["epoch"]: line["held_out_loss"] - line["data_loss"] for line in flow}
    first_map = min(line["epoch"] for line in lines if line["phase"] == "map")
    whole = min(epoch for epoch in gaps if epoch > WHOLE_BAND * len(lines))
    likelihoods = [line["held_out_log_likelihood"] for line in lines]
    return {
        "gap_before_maps": gaps[first_map - 1],
        "gap_whole_band": gaps[whole],
        "gap_last": gaps[len(lines)],
        "held_out_log_likelihood": likelihoods[-1],
        "from_best": max(likelihoods) - likelihoods[-1],
    }


if __name__ == "__main__":
    main()
