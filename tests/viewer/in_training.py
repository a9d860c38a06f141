"""Runs that are still in training, made from runs that are done."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from dynaflex.run.directory import Run
from dynaflex.run.ledger import Ledger
from dynaflex.run.lock import Holder
from dynaflex.run.metrics import METRICS
from dynaflex.run.store import Place

AFTER = ("latents.npz", "fsc.json", "motion.npz", "report.html", "model_fsc.json", "alignment.json")


def unfinished(done: Path, run: Path, epochs: dict[int, int]) -> Path:
    """A copy of a run as it was after so many ``epochs`` of each half, with a process at work in it."""
    shutil.copytree(done, run)
    ledger = Ledger(run)
    for name in (*AFTER, *(name for name in ledger.names() if name.startswith("maps/"))):
        ledger.forget(name)
    ledger.reopen(METRICS)
    opened = Run(run)
    for name in opened.store.names():
        kept = opened.load_checkpoint(name)
        for path in opened.store.series(name):
            shutil.rmtree(path)
        half = int(name[-1])
        if name == f"half{half}" and half in epochs:
            assert kept is not None
            opened.store.save(name, Place(epochs[half]), *kept)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept_lines = [line for line in lines if line["epoch"] <= epochs.get(line["half"], 0)]
    (run / "metrics.jsonl").write_text("".join(json.dumps({**line, "seconds": 30.0}) + "\n" for line in kept_lines))
    (run / "lock.json").write_text(json.dumps(asdict(Holder.me())))
    return run


def another_epoch(run: Path, half: int, scale: float) -> None:
    """The next checkpoint of a half, in which all latents are so many times as far from the origin."""
    opened = Run(run)
    loaded = opened.load_checkpoint(f"half{half}")
    assert loaded is not None
    tensors, state = loaded
    table = tensors["model.latents.table.weight"]
    tensors["model.latents.table.weight"] = table * scale
    epoch = max(int(path.name.rpartition("_")[2]) for path in opened.store.series(f"half{half}"))
    opened.store.save(f"half{half}", Place(epoch + 1), tensors, state)
    with (run / "metrics.jsonl").open("a") as metrics:
        line = {"half": half, "epoch": epoch + 1, "steps": 27, "data_loss": 1.0, "seconds": 30.0}
        metrics.write(json.dumps(line) + "\n")


def stop(run: Path) -> None:
    """The process is there no more."""
    (run / "lock.json").unlink()
