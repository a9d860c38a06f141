"""Laws of an update: numbers that are not finite change nothing, and memory changes nothing but the memory used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dynaflex.errors import ResourceError
from dynaflex.imaging.batch import Batch
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.memory import in_smaller_batches
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor
from dynaflex.training import checkpoint
from dynaflex.training.steps import PATIENCE, Contribution, Diverged, Progress, Steps

MakeTrainer = Callable[..., HalfTrainer]
SETTINGS: dict[str, Any] = {"epochs": 9, "warm_up_epochs": 1, "refine_poses": True}


def silent(_figures: dict[str, Any]) -> None:
    """Nobody listens."""


class Line:
    """The smallest training: one weight, pulled towards the noise of every particle, in double precision."""

    def __init__(self, data: HalfSet, micro_batch: int = 16) -> None:
        self.weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
        self.optimiser = torch.optim.Adam([self.weight], lr=0.1)
        self.progress = Progress(noise_power=torch.ones(1))
        self.steps = Steps(data, self.progress, micro_batch)
        self.spoiled: dict[int, float] = {}
        self.largest = 10_000
        self.asked: list[int] = []

    def accumulate(self, batch: Batch, share: float) -> Contribution:
        self.asked.append(len(batch.index))
        if len(batch.index) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        spoil = torch.tensor([self.spoiled.get(int(i), 1.0) for i in batch.index], dtype=torch.float64)
        loss = ((self.weight - batch.noise.double()).square().sum(dim=1) * spoil).mean()
        (share * loss).backward()
        return Contribution(batch.index, {"loss": loss.item()}, torch.ones(3))

    def step(self, batch: Batch) -> list[Contribution]:
        return self.steps.take([batch], self.accumulate, [self.optimiser])


def batch_of(data: HalfSet, size: int = 16) -> Batch:
    return data.batch(torch.arange(size), noise=torch.randn(size, 4, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e308])
def test_a_culprit_is_quarantined_and_the_others_make_the_step(data: HalfSet, bad: float) -> None:
    line, batch = Line(data), batch_of(data)
    line.spoiled[5] = bad
    added = line.step(batch)
    without = Line(data)
    without.step(batch.take(torch.arange(16) != 5))
    assert line.progress.quarantine == [5] and line.progress.skipped == 0
    assert torch.equal(line.weight, without.weight) and bool(line.weight.isfinite().all())
    assert sum(len(part.index) for part in added) == 15
    line.asked.clear()
    line.step(batch)
    assert line.asked == [15], "it is not looked at again"


def test_an_update_without_a_culprit_is_skipped_and_leaves_everything_as_it_was(data: HalfSet) -> None:
    """Fifteen finite gradients can still have an infinite sum."""
    line, batch = Line(data), batch_of(data)
    line.step(batch)
    weight, state = line.weight.detach().clone(), {k: v.clone() for k, v in line.optimiser.state[line.weight].items()}
    line.spoiled = {i: float("nan") for i in range(16)}
    assert line.step(batch) == []
    assert line.progress.quarantine == [] and line.progress.skipped == line.progress.skipped_in_a_row == 1
    assert torch.equal(line.weight, weight)
    assert all(torch.equal(value, line.optimiser.state[line.weight][name]) for name, value in state.items())
    line.spoiled.clear()
    line.step(batch)
    assert (line.progress.skipped, line.progress.skipped_in_a_row) == (1, 0)


@pytest.mark.parametrize("new_epoch_each_time", [False, True])
def test_many_skipped_updates_in_an_epoch_or_in_a_row_are_too_many(data: HalfSet, new_epoch_each_time: bool) -> None:
    line, batch = Line(data), batch_of(data)
    line.spoiled = {i: float("inf") for i in range(16)}
    for _ in range(PATIENCE):
        line.step(batch)
        if new_epoch_each_time:
            line.progress.begin_epoch()
    with pytest.raises(Diverged) as diverged:
        line.step(batch)
    assert diverged.value.exit_code == 7


def test_a_parameter_that_is_not_finite_cannot_be_waited_out(data: HalfSet) -> None:
    line = Line(data)
    line.weight.data[2] = float("nan")
    with pytest.raises(Diverged, match="parameter"):
        line.step(batch_of(data))


@pytest.mark.parametrize("largest", [15, 8, 5, 1])
def test_too_little_memory_changes_how_many_particles_are_held_and_nothing_else(data: HalfSet, largest: int) -> None:
    line, plain = Line(data), Line(data)
    line.largest = largest
    for _ in range(20):
        added = line.step(batch_of(data))
        plain.step(batch_of(data))
    assert torch.allclose(line.weight, plain.weight, rtol=1e-12, atol=0.0)
    assert line.steps.micro_batch <= largest and sum(len(part.index) for part in added) == 16
    sizes = [len(part.index) for part in added]
    assert max(sizes) == line.steps.micro_batch


def test_a_device_that_holds_no_particle_is_refused(data: HalfSet) -> None:
    line = Line(data)
    line.largest = 0
    with pytest.raises(ResourceError, match="2 GiB") as refused:
        line.step(batch_of(data))
    assert refused.value.exit_code == 5 and refused.value.fix


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: an illegal memory access"), ValueError(), KeyError()])
def test_no_other_error_is_taken_for_too_little_memory(data: HalfSet, error: Exception) -> None:
    line = Line(data)

    def accumulate(_batch: Batch, _share: float) -> Contribution:
        line.asked.append(1)
        raise error

    with pytest.raises(type(error)):
        line.steps.take([batch_of(data)], accumulate, [line.optimiser])
    assert line.asked == [1] and line.steps.micro_batch == 16


def test_inference_shrinks_its_batches_too() -> None:
    tried = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 10:
            raise torch.OutOfMemoryError
        return "done"

    assert in_smaller_batches(work, 64) == "done" and tried == [64, 32, 16, 8]
    with pytest.raises(ResourceError):
        in_smaller_batches(lambda size: work(64), 2)


@pytest.mark.parametrize("latents", ["table", "encoder"])
def test_a_training_with_small_micro_batches_is_the_same_training(make: MakeTrainer, latents: str) -> None:
    """The figures of each epoch, up to the rounding of sums in single precision."""
    losses: dict[int, list[float]] = {16: [], 5: []}
    for micro_batch, found in losses.items():
        trainer = make(**SETTINGS, latents=latents)
        trainer.steps.micro_batch = micro_batch
        for _ in range(3):
            trainer.run_epoch(lambda figures, found=found: found.append(figures["data_loss"]))
    assert losses[5] == pytest.approx(losses[16], rel=2e-5)


def test_an_image_gone_bad_trains_nothing_and_spoils_nothing(make: MakeTrainer) -> None:
    trainer = make(**SETTINGS)
    trainer.run_epoch(silent)
    culprit = int(trainer.training[7])
    images = trainer.data.images.clone()
    try:
        trainer.data.images[culprit] = float("nan")
        for _ in range(2):
            trainer.run_epoch(silent)
    finally:
        trainer.data.images.copy_(images)
    assert trainer.progress.quarantine == [culprit]
    assert all(bool(value.isfinite().all()) for value in trainer.model.state_dict().values())
    assert bool(trainer.progress.noise_power.isfinite().all())
    # One particle of 54 less leaves the mean as it is; a sum that forgot it would be 2 % lower.
    healthy = make(**SETTINGS)
    for _ in range(3):
        healthy.run_epoch(silent)
    power, expected = (float(one.progress.noise_power[1:-1].mean()) for one in (trainer, healthy))
    assert power == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("where", ["model", "optimiser", "progress"])
def test_what_is_not_finite_is_never_saved(make: MakeTrainer, tmp_path: Any, where: str) -> None:
    run = Run.create(tmp_path / "run", "dynamight", {}, {})
    trainer = make(**SETTINGS)
    trainer.run_epoch(silent)
    checkpoint.save(run, trainer, "digest")
    trainer.run_epoch(silent)
    poisoned: Tensor = {
        "model": trainer.model.density.get_parameter("positions").data,
        "optimiser": next(iter(trainer.optimisers["gaussians"].state.values()))["exp_avg"],
        "progress": trainer.progress.noise_power,
    }[where]
    poisoned[0] = float("nan")
    with pytest.raises(Diverged):
        checkpoint.save(run, trainer, "digest")
    assert [path.name for path in run.store.series("half1")] == ["half1_00001"]
