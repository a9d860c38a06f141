"""Rows N of the list: numbers that are not finite, and a motion that cannot be right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from dynaflex.io.star import read_star
from dynaflex.methods.dynamight import train
from dynaflex.results import motion
from dynaflex.results.half_maps import inverse
from dynaflex.results.half_maps.made import SOLVERS
from dynaflex.results.trained import TrainedHalf
from dynaflex.run.directory import Run
from dynaflex.run.metrics import Metrics
from dynaflex.shapes import Tensor
from faults.harness import Command, Toy


@contextmanager
def loss_of(change: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """The loss ``(b)`` of each particle, changed by ``change(loss, coefficients)``."""
    loss = train.data_loss
    with patch.object(train, "data_loss", lambda p, c, w: change(loss(p, c, w), c)):
        yield


def mark_of(toy: Toy, command: Command, particle: int = 5) -> Tensor:
    """Something by which the loss knows the image of a particle of half 1, found in a run that is thrown away."""
    seen: list[Tensor] = []
    take = train.HalfSet.batch

    def watched(data: train.HalfSet, index: Tensor, **rest: Any) -> object:
        batch = take(data, index, **rest)
        here = (index == particle).nonzero()[:, 0]
        if data.half == 1 and len(here):
            seen.append(batch.coefficients[int(here[0])].clone())
        return batch

    with patch.object(train.HalfSet, "batch", watched):
        command(*toy.train("--epochs", 1), "-o", toy.folder / "thrown-away")
    return seen[0]


def test_n_01_a_particle_whose_loss_is_not_finite_is_named_and_trains_nothing(toy: Toy, command: Command) -> None:
    mark = mark_of(toy, command)

    def spoil(loss: Tensor, coefficients: Tensor) -> Tensor:
        culprit = (coefficients == mark).all(dim=2).all(dim=1)
        return loss * torch.where(culprit, float("nan"), 1.0)

    with loss_of(spoil):
        outcome = command(*toy.train("--epochs", 3))
    assert outcome.code == 0, outcome.err
    provenance = Run.open(toy.run).read_json("provenance.json")
    (row,) = provenance["quarantined"]["1"]
    assert f"rows {row} " in outcome.err and "quarantine.star" in outcome.err
    assert any("quarantine.star" in warning for warning in provenance["warnings"])
    table = read_star(toy.particles).blocks["particles"]
    assert read_star(toy.run / "quarantine.star").blocks["particles"].iloc[0].equals(table.iloc[row])
    with np.load(toy.run / "latents.npz") as latents:
        assert np.isfinite(latents["mean"]).all() and len(latents["index"]) == len(table)


def test_n_02_a_training_that_diverges_goes_back_three_times_and_then_gives_up(toy: Toy, command: Command) -> None:
    epochs = []

    def explode(loss: Tensor, _coefficients: Tensor) -> Tensor:
        return loss * float("inf") if len(epochs) >= 2 else loss

    record = Metrics.record

    def counting(metrics: Metrics, figures: dict[str, object]) -> None:
        epochs.append(figures["epoch"])
        record(metrics, figures)

    with loss_of(explode), patch.object(Metrics, "record", counting):
        outcome = command(*toy.train("--epochs", 20))
    assert outcome.code == 7
    for words in ("half 1 diverged again after 3", str(toy.run), "provenance.json"):
        assert words in outcome.err
    warnings = Run.open(toy.run).read_json("provenance.json")["warnings"]
    rates = [message.rpartition("with ")[2] for message in warnings if "diverged" in message]
    assert rates == ["0.5 of its rates", "0.25 of its rates", "0.125 of its rates"]
    outcome = command(*toy.train("--epochs", 20), "--resume")
    assert outcome.code == 0 and "resumed after epoch 2" in outcome.out
    lines = [json.loads(line) for line in (toy.run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["half"] == 1] == list(range(1, 21))


def test_n_03_what_is_not_finite_is_not_saved(toy: Toy, command: Command) -> None:
    finish = train.HalfTrainer._finish_epoch

    def poison(trainer: train.HalfTrainer, phase: str) -> None:
        finish(trainer, phase)
        if trainer.progress.epoch >= 2:
            trainer.model.density.get_parameter("positions").data[3] = float("nan")

    with patch.object(train.HalfTrainer, "_finish_epoch", poison):
        outcome = command(*toy.train("--epochs", 4))
    assert outcome.code == 7 and "not finite" in outcome.err and str(toy.run) in outcome.err
    store = Run.open(toy.run).store
    assert [path.name for path in store.series("half1")] == ["half1_00001"]
    assert store.fault(store.series("half1")[0]) is None


def test_n_03_a_map_that_is_not_finite_is_not_written(toy: Toy, command: Command) -> None:
    outcome = command(*toy.train("--until", "train"))
    assert outcome.code == 0, outcome.err
    with patch.dict(SOLVERS, iterative=lambda _equations: torch.full((32, 32, 32), torch.nan)):
        outcome = command(*toy.train("--until", "reconstruct"), "--resume")
    assert outcome.code == 7
    for words in ("map of half 1", "32768 of 32768 voxels", "--solver backprojection [map.not-finite]"):
        assert words in outcome.err
    assert not list((toy.run / "maps").glob("*half1.mrc")) and not (toy.run / "fsc.json").exists()


def test_n_06_a_motion_that_folds_the_molecule_is_named(
    toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everywhere(half: TrainedHalf, latents: Tensor, points: Tensor) -> Tensor:
        return torch.linspace(0.0, 1.0, len(latents)).double()

    monkeypatch.setattr(motion, "folded", everywhere)
    outcome = command(*toy.train("--until", "reconstruct"))
    assert outcome.code == 0, outcome.err
    for words in ("half 2: the motion folds space at 50 % of the points", "rows", "--regularisation"):
        assert words in outcome.err
    assert any("folds space" in warning for warning in Run.open(toy.run).read_json("provenance.json")["warnings"])


def test_n_07_an_inverse_that_does_not_undo_the_motion_is_not_used(
    finished_run: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    before = {path: path.read_bytes() for path in (run / "maps").iterdir()}
    monkeypatch.setattr(inverse, "STEPS", 1)
    outcome = command("reconstruct", run, "--field", "inverse")
    assert outcome.code == 7
    for words in ("learned inverse of half 1", "[inverse.inexact]", "--field decoder"):
        assert words in outcome.err
    assert {path: path.read_bytes() for path in (run / "maps").iterdir()} == before
