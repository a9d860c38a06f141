"""Rows R of the list: memory that runs out, and errors of the machine that must not be taken for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from dynaflex import machine
from dynaflex.imaging.batch import Batch
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.run.directory import Run
from dynaflex.training import loop
from faults.harness import Command, Fault, Toy, prove


@contextmanager
def device_that_holds(largest: int, error: type[Exception] = torch.OutOfMemoryError) -> Iterator[None]:
    """A device that runs out of memory when more than so many particles are on it at once, from the second epoch on."""
    accumulate = HalfTrainer._accumulate

    def limited(trainer: HalfTrainer, batch: Batch, share: float, **rest: object) -> object:
        if trainer.progress.epoch and len(batch.index) > largest:
            raise error("CUDA out of memory. Tried to allocate 20.00 GiB")
        return accumulate(trainer, batch, share, **rest)

    with patch.object(HalfTrainer, "_accumulate", limited):
        yield


def test_r_01_too_little_memory_halves_the_micro_batch_and_says_so(toy: Toy, command: Command) -> None:
    with device_that_holds(3):
        outcome = command(*toy.train())
    assert outcome.code == 0, outcome.err
    for words in ("half 1", "too little memory", "2 particles at a time"):
        assert words in outcome.err
    lines = (toy.run / "metrics.jsonl").read_text()
    assert '"steps": 7' in lines, "as many updates as before"


def test_r_01_a_device_that_holds_no_particle_is_refused(toy: Toy, command: Command) -> None:
    with device_that_holds(0):
        outcome = command(*toy.train())
    assert outcome.code == 5
    for words in ("20.00 GiB", "--train-box", "memory.device"):
        assert words in outcome.err
    assert Run.open(toy.run).load_checkpoint("half1") is not None


def test_r_03_another_error_of_the_device_is_not_taken_for_too_little_memory(toy: Toy, command: Command) -> None:
    with device_that_holds(0, RuntimeError):
        outcome = command(*toy.train())
    assert outcome.code == 1 and "RuntimeError" in outcome.err and "at a time" not in outcome.err
    assert Run.open(toy.run).load_checkpoint("half1") is not None
    assert command(*toy.train("--resume")).code == 0


def small_machine(toy: Toy) -> list[object]:
    (toy.folder / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:    90 kB\n")
    return [*toy.train(), "--cache", "off"]


FAULTS = [
    Fault(
        "R-04",
        "images that do not fit into memory, where they are to be",
        small_machine,
        5,
        ("GB", "available", "--train-box"),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.row)
def test_fault(fault: Fault, toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MEMORY", toy.folder / "meminfo")
    prove(fault, toy, command)
    assert not toy.run.exists()


def test_r_04_a_machine_that_does_not_say_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MEMORY", Path("/nowhere"))
    assert machine.available_memory() is None


def test_r_08_memory_that_grows_is_reported_once(toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter(range(1000, 100_000, 700))
    monkeypatch.setattr(loop, "memory_mb", lambda: float(next(used)))
    outcome = command(*toy.train("--epochs", 6))
    assert outcome.code == 0, outcome.err
    assert "half 1: memory has grown from 2400 to 3800 MB since epoch 3" in outcome.err
    assert outcome.err.count("half 1: memory has grown") == 1
