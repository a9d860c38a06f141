"""What survival costs and whether it holds: the time of a save, and a soak of training with stops and kills.

``--minutes 30`` is the soak of the release note. A run trains on small simulated data; after every ``--period`` seconds
it is stopped, or killed every other time, and resumed. Printed are the rounds, the longest time from a stop to the
exit, the rounds that went back behind a checkpoint, and the largest memory of
the first, the last and the hungriest process.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from dynaflex.run.store import CheckpointStore, Place
from dynaflex.simulation.particles import simulate

COMMAND = [sys.executable, "-c", "from dynaflex.cli.main import main; main()"]
RESUMED = re.compile(r"half (\d): resumed after epoch (\d+)(?:, update (\d+))?")


def save_seconds(folder: Path, megabytes: int) -> float:
    """The time to write a checkpoint of a size, with its digests and syncs."""
    store = CheckpointStore(folder)
    tensors = {"x": torch.zeros(megabytes * 250_000)}
    started = time.monotonic()
    store.save("half1", Place(1), tensors, {})
    return time.monotonic() - started


def soak(folder: Path, minutes: float, period: float) -> dict[str, float]:
    """Stop, kill and resume one long training again and again."""
    simulate(folder / "data", 400, 32, 6.0, 1.0, "hinge", 0)
    data, run = folder / "data", folder / "run"
    typed = [
        *COMMAND, "dynamight", str(data / "particles.star"), "--map", str(data / "consensus.mrc"), "-o", str(run),
        "--epochs", "100000", "--gaussians", "200", "--until", "train", "--resume",
    ]  # fmt: skip
    ends, rounds, finished, lost, longest = time.monotonic() + 60.0 * minutes, 0, 0, 0, 0.0
    memory: list[float] = []
    while time.monotonic() < ends:
        newest = newest_place(run)
        kill = rounds % 2 == 1
        process = subprocess.Popen(typed, stderr=subprocess.PIPE, text=True)
        time.sleep(period)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        asked = time.monotonic()
        said = process.communicate()[1]
        longest = max(longest, time.monotonic() - asked)
        # A machine so busy that the program has not begun to listen leaves it to the system.
        allowed = (0, -signal.SIGKILL) if kill else (0, 75, *([-signal.SIGTERM] if not said else []))
        assert process.returncode in allowed, f"exit code {process.returncode}: {said}"
        resumed = RESUMED.search(said)
        if newest is not None and resumed is not None and resumed[1] == "1":
            lost += (int(resumed[2]), int(resumed[3] or 0)) < newest
        metrics = run / "metrics.jsonl"
        if metrics.exists():
            memory.append(json.loads(metrics.read_text().splitlines()[-1])["memory_mb"])
        rounds += 1
        if process.returncode == 0:
            finished += 1
            shutil.rmtree(run)
    if not memory:
        sys.exit(f"nothing was trained in {period:g} s: give a longer --period")
    return {
        "minutes": minutes, "rounds": rounds, "runs_finished": finished, "rounds_that_lost_a_checkpoint": lost,
        "longest_stop_s": round(longest, 2), "memory_mb_first": round(memory[0]), "memory_mb_last": round(memory[-1]),
        "memory_mb_most": round(max(memory)),
    }  # fmt: skip


def newest_place(run: Path) -> tuple[int, int] | None:
    """The epoch and update of the newest checkpoint of half 1."""
    names = [path.name.removeprefix("half1_") for path in run.glob("checkpoints/half1_*") if path.suffix != ".writing"]
    places = [(int(name.partition(".")[0]), int(name.partition(".")[2] or 0)) for name in names]
    return max(places, default=None)


def main() -> None:
    """Print the figures as one JSON line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--period", type=float, default=15.0)
    asked = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        saves = {f"save_{size}_mb_s": round(save_seconds(Path(folder), size), 3) for size in (1, 200)}
        print(json.dumps({**saves, **soak(Path(folder), asked.minutes, asked.period)}))


if __name__ == "__main__":
    main()
