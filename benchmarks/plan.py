"""Is a run what `dynaflex check --plan` said it would be?

    python benchmarks/plan.py [--epochs N] [--method flex]

Hinges of three sizes, each method: a plan, then the run, both on one thread and the CPU, each in a process of its own.
On a machine that does other things as well seconds say little, and seconds of processors are to be compared. One JSON
line for each run: planned over taken, in all and by stage, and memory.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from judge import dynaflex, show

SIZES = ((1000, 32, 6.0, 32), (3000, 48, 4.0, 48), (2000, 64, 3.0, 32))
"""Particles, box, pixel size in Å, training box."""
METHODS = ("dynamight", "flex")
ALONE = ("--threads", 1, "--device", "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--method", choices=METHODS, action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch) / "cache")
        for particles, box, pixel, train_box in SIZES:
            data = Path(scratch) / f"data{box}"
            size = ("--particles", particles, "--box", box, "--pixel-size", pixel)
            dynaflex("simulate", data, *size, "--snr", 0.1)
            for method in given.method or METHODS:
                run = Path(scratch) / f"{method}{box}"
                epochs = () if given.epochs is None else ("--epochs", given.epochs)
                compared = planned_and_taken(data, run, method, "--train-box", train_box, *epochs, *ALONE)
                show({"benchmark": "plan", "method": method, "particles": particles, "box": box, **compared})


def planned_and_taken(data: Path, run: Path, method: str, *settings: object) -> dict[str, object]:
    """Planned over taken, of a run made after its plan."""
    files = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    dynaflex("check", *files, "--plan", "--method", method, *settings)
    dynaflex(method, *files, "-o", run, *settings)
    plan, spent = (json.loads((run / name).read_text()) for name in ("plan.json", "spent.json"))
    ratios: dict[str, object] = {"planning_seconds": round(plan["measured_seconds"])}
    for kind in ("seconds", "cpu_seconds"):
        planned, taken = plan[kind], spent[kind]
        ratios[kind] = {
            "planned": round(sum(planned.values())),
            "taken": round(sum(taken.values())),
            "ratio": round(sum(planned.values()) / sum(taken.values()), 2),
            **{stage: round(planned[stage] / max(taken[stage], 1e-9), 2) for stage in taken},
        }
    return {**ratios, "memory": round(plan["memory_mb"] / spent["memory_mb"], 2), "memory_mb": spent["memory_mb"]}


if __name__ == "__main__":
    main()
