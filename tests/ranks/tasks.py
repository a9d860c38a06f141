"""Work that several processes do together, started afresh: a fork would inherit locks that nobody opens again."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex import ranks
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.prepare.device import use_one_thread
from dynaflex.prepare.half import HalfSet
from dynaflex.results.reopen import reopened
from dynaflex.results.settings import method_of, settings_as
from dynaflex.run.directory import Run
from dynaflex.training.method import Trainer, Work

CONTEXT = multiprocessing.get_context("spawn")
CPU = torch.device("cpu")
PATIENCE = 60.0


def together(count: int, task: Callable[..., Any], folder: Path, *given: Any) -> list[Any]:
    """What ``task(*given)`` returns, as JSON, in each of so many processes that work together; in this one if alone."""
    if count == 1:
        return [task(*given)]
    folder.mkdir(parents=True, exist_ok=True)
    processes = [
        CONTEXT.Process(target=_do, args=(ranks.Place(rank, count, str(folder / "meeting"), "", "cpu"), task, given))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * count
    return [json.loads((folder / f"said{rank}").read_text()) for rank in range(count)]


def _do(place: ranks.Place, task: Callable[..., Any], given: tuple[Any, ...]) -> None:
    use_one_thread()
    with ranks.joined(place):
        said = task(*given)
    (Path(place.meeting).parent / f"said{place.rank}").write_text(json.dumps(said))


def trainer_of(path: Path, half: int = 1) -> Trainer:
    """The training of a half of a run that was prepared, before its first epoch."""
    run = Run.open(path)
    method = method_of(run)
    config, inputs = settings_as(run, method.config), reopened(run)
    work = Work(run, inputs, config, method.examine(inputs, config), CPU)
    mine = inputs.members(half)
    training = torch.from_numpy(np.flatnonzero(~inputs.held_out[mine]))
    return method.trainer(work, HalfSet(inputs.particles.take(mine), half, inputs.imaging, CPU), training)


def learned(path: Path, epochs: int, quarantined: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """The figures of some epochs in double precision."""
    trainer = trainer_of(path)
    trainer.model.double()
    state = trainer.progress
    for name in ("contrast", "factor", "factor_error", "noise_power", "power"):
        setattr(state, name, getattr(state, name).double())
    trainer.restored()
    state.quarantine.extend(quarantined)
    figures: list[dict[str, Any]] = []
    with in_double():
        for _ in range(epochs):
            trainer.run_epoch(figures.append, lambda _done, _total: None)
    return figures


@contextmanager
def in_double() -> Iterator[None]:
    """While inside, batches and grids are in double precision: what differs then is no rounding of single ones."""
    batch = HalfSet.batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HalfSet, "batch", lambda *given, **named: doubled(batch(*given, **named)))
        for name in ("axis", "points", "frequencies"):
            patch.setattr(getattr(Grid, name), "__defaults__", (None, torch.float64))
        yield


def doubled(batch: Batch) -> Batch:
    return replace(
        batch,
        pose=batch.pose.to(CPU, torch.float64),
        ctf=batch.ctf.double(),
        read=lambda: batch.read().to(torch.complex128),
        noise=batch.noise.double(),
        latents=None if batch.latents is None else batch.latents.double(),
    )
