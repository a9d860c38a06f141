"""What a run directory refuses, each refusal under its identifier: whatever is in it stays as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from dynaflex import machine
from dynaflex.errors import DamagedCheckpointError
from dynaflex.io.mrc import read_map, write_map
from dynaflex.run.directory import Run
from dynaflex.run.metrics import Metrics
from dynaflex.training import checkpoint
from dynaflex.training.steps import Diverged
from faults.harness import Command, Toy

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def toy(trained_toy: Toy) -> Toy:
    """Here every fault befalls a run that is there."""
    return trained_toy


def without_final_latents(toy: Toy) -> list[object]:
    """The checkpoints of the training are needed again."""
    for path in (toy.run / "checkpoints").glob("latents*"):
        shutil.rmtree(path)
    return toy.train("--resume")


def no_run_anywhere(toy: Toy) -> list[object]:
    return ["volumes", toy.folder, "-o", toy.folder / "volumes", "--axis", 1]


def nothing_to_examine(toy: Toy) -> list[object]:
    return ["doctor", toy.folder / "nothing"]


def no_longer_a_run(toy: Toy) -> list[object]:
    (toy.run / "config.json").unlink()
    return toy.train()


def settings_cut_short(toy: Toy) -> list[object]:
    os.truncate(toy.run / "config.json", 40)
    return toy.train("--resume")


def settings_edited(toy: Toy) -> list[object]:
    path = toy.run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": 7}))
    return toy.train("--resume")


def settings_asked_anew(toy: Toy) -> list[object]:
    return toy.train("--resume", "--latent-dim", 3)


def another_method(toy: Toy) -> list[object]:
    return ["flex", toy.particles, "--map", toy.map, "--mask", toy.mask, "-o", toy.run, "--resume"]


def another_map(toy: Toy) -> list[object]:
    write_map(toy.map, 2.0 * read_map(toy.map).data, 6.0)
    return toy.train("--resume")


def no_whole_checkpoint(toy: Toy) -> list[object]:
    for path in (toy.run / "checkpoints").glob("half1_*/state.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    return without_final_latents(toy)


def checkpoint_of_other_particles(toy: Toy) -> list[object]:
    run = Run.open(toy.run)
    tensors, state = run.require_checkpoint("half1")
    run.save_checkpoint("half1", 3, tensors, {**state, "digest": "that of other particles"})
    return without_final_latents(toy)


def held_elsewhere(toy: Toy) -> list[object]:
    (toy.run / "lock.json").write_text('{"pid": 1, "host": "far-away", "since": "2026-01-01 00:00:00"}')
    return toy.train("--resume")


def lock_in_the_way(toy: Toy) -> list[object]:
    (toy.run / "lock.json").mkdir()
    return toy.train("--resume")


def file_in_the_way(toy: Toy) -> list[object]:
    return [*toy.train(), "-o", toy.particles]


def half_a_batch(toy: Toy) -> list[object]:
    return [*toy.train("--batch-size", 40), "-o", toy.folder / "other"]


REFUSALS: list[tuple[Callable[[Toy], list[object]], int, str]] = [
    (no_longer_a_run, 2, "run.not-empty"),
    (settings_asked_anew, 2, "run.other-settings"),
    (another_method, 2, "run.other-method"),
    (no_run_anywhere, 3, "run.missing"),
    (nothing_to_examine, 3, "run.missing"),
    (half_a_batch, 3, "halves.too-few"),
    (lock_in_the_way, 4, "run.unwritable"),
    (file_in_the_way, 4, "run.unwritable"),
    (held_elsewhere, 6, "run.busy"),
    (settings_cut_short, 8, "run.damaged-file"),
    (settings_edited, 8, "run.damaged-file"),
    (another_map, 8, "run.other-inputs"),
    (no_whole_checkpoint, 8, "checkpoint.none-whole"),
    (checkpoint_of_other_particles, 8, "checkpoint.other-particles"),
]


@pytest.mark.parametrize(
    ("bring_about", "code", "identifier"), REFUSALS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_refusal_has_its_identifier_and_changes_no_result(
    toy: Toy, command: Command, bring_about: Callable[[Toy], list[object]], code: int, identifier: str
) -> None:
    typed = bring_about(toy)
    before = results(toy)
    outcome = command(*typed)
    assert outcome.code == code, outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("error: ") and ". Fix: " in last and last.endswith(f"[{identifier}]"), outcome.err
    assert results(toy) == before


def results(toy: Toy) -> dict[Path, bytes]:
    """All that a training comes to: the settings, the checkpoints and the final latents."""
    kept = [toy.run / "config.json", toy.run / "latents.npz", *(toy.run / "checkpoints").rglob("*")]
    return {path: path.read_bytes() for path in kept if path.is_file()}


def test_a_damaged_checkpoint_is_not_read(toy: Toy) -> None:
    store = Run.open(toy.run).store
    path = store.series("half1")[-1]
    os.truncate(path / "state.json", 10)
    with pytest.raises(DamagedCheckpointError) as caught:
        store.read(path)
    assert caught.value.identifier == "checkpoint.damaged" and caught.value.file == path


def test_a_disk_and_a_memory_that_are_too_small_are_told_apart(
    toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = [*toy.train(), "-o", toy.folder / "other"]
    (toy.folder / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:    90 kB\n")
    monkeypatch.setattr("dynaflex.machine._MEMORY", toy.folder / "meminfo")
    outcome = command(*typed, "--cache", "off")
    assert outcome.code == 5 and outcome.error_line().endswith("--train-box [memory.images]")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 1000))
    outcome = command(*typed)
    assert outcome.code == 5 and outcome.error_line().endswith("with -o [disk.too-small]")
    assert not (toy.folder / "other").exists()


def test_a_run_that_is_taken_away_says_so(toy: Toy, command: Command) -> None:
    with patch.object(Metrics, "record", lambda own, _figures: shutil.rmtree(own.path.parent, ignore_errors=True)):
        outcome = command(*toy.train(), "-o", toy.folder / "other")
    assert outcome.code == 5
    assert "removed or renamed" in outcome.err and "dynaflex resume" in outcome.err and "[run.vanished]" in outcome.err


def test_numbers_that_are_not_finite_are_not_saved_and_end_the_run(toy: Toy, command: Command) -> None:
    refused, save = [], checkpoint.save

    def poisoned(run: Run, trainer: checkpoint.Trainer, digest: str) -> None:
        next(trainer.model.parameters()).data.fill_(torch.nan)
        try:
            save(run, trainer, digest)
        except Diverged as diverged:
            refused.append(diverged.identifier)
            raise

    with patch.object(checkpoint, "save", poisoned):
        outcome = command(*toy.train(), "-o", toy.folder / "other")
    assert set(refused) == {"training.not-finite"}
    assert outcome.code == 7 and outcome.err.splitlines()[-1].endswith("[training.diverged]")
    assert not list((toy.folder / "other").glob("checkpoints/*"))
