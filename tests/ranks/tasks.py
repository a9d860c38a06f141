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
from dynaflex.data.halves import halves_digest
from dynaflex.errors import ResourceError
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.prepare.device import use_one_thread
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.images import ParticleImages
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.operator import Operator
from dynaflex.results.half_maps.made import Passes, both_maps
from dynaflex.results.reopen import reopened
from dynaflex.results.settings import method_of, settings_as
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor
from dynaflex.training import checkpoint
from dynaflex.training.final_latents import find_final_latents
from dynaflex.training.linear_start import linear_start
from dynaflex.training.loop import half_set
from dynaflex.training.method import Trainer, Work
from dynaflex.training.steps import Contribution, Progress, Steps

CONTEXT = multiprocessing.get_context("spawn")
CPU = torch.device("cpu")
PATIENCE = 300.0


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
    return method.trainer(work, *half_set(work, half))


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


def stepped(path: Path) -> dict[str, Any]:
    """The smallest training: a weight and a row of a table, pulled towards the noise of every particle; two particles
    are spoiled, and in one update all."""
    data = trainer_of(path).data
    weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    table = torch.nn.Embedding(len(data), 4, sparse=True, dtype=torch.float64)
    table.weight.data.zero_()
    progress = Progress(noise_power=torch.ones(1), factor=torch.zeros(len(data), dtype=torch.float64))
    steps = Steps(data, progress, micro_batch=3)
    spoiled: set[int] = set()

    def accumulate(batch: Batch, share: float) -> Contribution:
        spoil = torch.tensor([float("nan") if int(i) in spoiled else 1.0 for i in batch.index], dtype=torch.float64)
        noise = batch.noise.double()
        loss = ((weight + table(batch.index) - noise).square().sum(dim=1) * spoil).mean()
        (share * loss).backward()
        progress.factor[batch.index] = noise[:, 0]
        return Contribution(batch.index, {"loss": loss.item()}, torch.ones(3), noise[:, :2])

    optimisers = [torch.optim.Adam([weight], lr=0.1), torch.optim.SparseAdam(list(table.parameters()), lr=0.1)]
    figures, latents = [], torch.zeros(len(data), 2, dtype=torch.float64)
    before: set[int] = set()
    for number, batch in enumerate(data.batches(torch.arange(25), 8, 4, (0, 1, 2), 0, progress.quarantine)):
        if number < 2:
            before.add(int(batch.everyone[number]))
        spoiled = set(range(25)) if number == 2 else before
        added = steps.take([batch], accumulate, optimisers)
        figures.append(sum(len(part.index) * part.figures["loss"] for part in added))
        for part in added:
            assert part.latents is not None
            latents[part.index] = part.latents
    return {
        "quarantine": progress.quarantine, "skipped": progress.skipped, "weight": weight.tolist(),
        "table": table.weight.flatten().tolist(), "factor": progress.factor[latents.any(dim=1)].tolist(),
        "latents": latents.flatten().tolist(), "figures": figures,
    }  # fmt: skip


def solved(path: Path, out: Path) -> None:
    """The maps of either fold, both maps of a half, its last latents and its linear start, in the file of a rank."""
    run = Run.open(path)
    trainer, trained = trainer_of(path), load_half(run, 1)
    assert isinstance(trainer, FlexTrainer)
    checkpoint.restore(run, trainer, halves_digest(trainer.data.particles.half, trainer.data.particles.rows))
    folds = trainer.solver.solved(
        trainer.table.mean_of,
        trainer.progress.noise_power,
        band=8,
        iterations=3,
        every_batch=lambda _done, _total: None,
    )
    inputs, data = reopened(run), trainer.data
    region = Region.around(inputs.mask, inputs.full_imaging.grid)
    field = method_of(run).field(run, trained.model, trained.latents.mean, region)
    images = ParticleImages(data.particles, inputs.full_imaging, CPU, trained.poses, trained.contrast)
    rigid, corrected = both_maps(Operator(field), Passes(images, "maps", 4, trained.latents.mean), "iterative")
    written = Kept(path)
    find_final_latents(written, trainer)
    start = linear_start(inputs, data, trainer.config, 2)
    np.savez(
        f"{out}{ranks.rank()}.npz", start=start, rigid=rigid, corrected=corrected, latents=written.kept["mean"],
        **{"fold maps": folds},
    )  # fmt: skip


class Kept(Run):
    """A run that keeps the last checkpoint for itself."""

    def save_checkpoint(self, *content: Any, **_place: Any) -> None:
        self.kept: dict[str, Tensor] = content[2]


def left_alone() -> str | None:
    """What the first is told when it waits for the second, which has left."""
    if ranks.rank() == 1:
        return None
    try:
        ranks.summed(torch.ones(3))
    except ResourceError as error:
        return error.identifier
    return "nothing"
