"""Laws of the checkpoint: it holds all that the next epoch depends on, and nothing that could be left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from dynaflex.errors import DamagedCheckpointError
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.run.directory import Run
from dynaflex.run.store import Place
from dynaflex.training import checkpoint

MakeTrainer = Callable[..., HalfTrainer]

SETTINGS: dict[str, Any] = {
    "epochs": 12, "warm_up_epochs": 8, "refresh_every": 17, "refresh_epochs": 8, "replace_every": 25, "patience": 750,
    "refine_poses": True,
}  # fmt: skip
# The third epoch is a joint one, which counts rises; the fourth moves the Gaussians alone, with lambda as it was.
STOPS, END = (Place(2), Place(2, 2), Place(3)), 5


@dataclass(frozen=True)
class Stopped:
    """A training that was saved at several places, and what it is in the end if nothing stops it."""

    runs: dict[Place, Run]
    settings: dict[str, Any]
    end: dict[str, Any]


def silent(_figures: dict[str, Any]) -> None:
    """Nobody listens."""


def everything(trainer: HalfTrainer) -> dict[str, Any]:
    """All that a training is, by name."""
    state: dict[str, Any] = {f"model.{name}": value.clone() for name, value in trainer.model.state_dict().items()}
    for name, optimiser in trainer.optimisers.items():
        for index, slots in optimiser.state_dict()["state"].items():
            state |= {f"{name}.{index}.{slot}": torch.as_tensor(value).clone() for slot, value in slots.items()}
    for name, value in vars(trainer.progress).items():
        state[name] = value.clone() if isinstance(value, torch.Tensor) else json.dumps(value)
    if trainer.poses is not None:
        state["poses"] = trainer.poses.table.weight.detach().clone()
    return state


def differing(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    assert first.keys() == second.keys()

    def same(one: Any, other: Any) -> bool:
        return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)

    return {name for name in first if not same(first[name], second[name])}


@pytest.fixture(scope="module", params=["table", "encoder"])
def stopped(request: pytest.FixtureRequest, make: MakeTrainer, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = tmp_path_factory.mktemp("stopped")
    runs = {place: Run.create(folder / str(number), "dynamight", {}, {}) for number, place in enumerate(STOPS)}
    settings = {**SETTINGS, "latents": request.param}
    trainer = make(**settings)
    trainer.progress.quarantine, trainer.progress.rollbacks = [int(trainer.training[4])], 1
    trainer.progress.stiffer = 4.0

    def save(_done: int = 0, _total: int = 0) -> None:
        place = Place(trainer.progress.epoch, trainer.progress.step)
        if place in runs:
            trainer.progress.skipped = trainer.progress.skipped_in_a_row = 3
            trainer.progress.tried, trainer.progress.whole = [[1.0, 0.2, 0.1]], [0.3, 0.1]
            checkpoint.save(runs[place], trainer, "digest")
            trainer.progress.skipped = trainer.progress.skipped_in_a_row = 0
            trainer.progress.tried, trainer.progress.whole = [], []

    for epoch in range(END):
        if epoch == 2:
            trainer.progress.rises, trainer.progress.last_loss = 5, 0.0  # the next epoch will count as a rise
        save()
        trainer.run_epoch(silent, save)
    return Stopped(runs, settings, everything(trainer))


def resumed(make: MakeTrainer, stopped: Stopped, place: Place) -> tuple[HalfTrainer, dict[str, Any]]:
    """A training that went on from a place to the end, and what it was at first."""
    trainer = make(**stopped.settings)
    assert checkpoint.restore(stopped.runs[place], trainer, "digest")
    first = everything(trainer)
    while trainer.progress.epoch < END:
        trainer.run_epoch(silent)
    return trainer, first


@pytest.mark.parametrize("place", STOPS)
def test_a_resumed_training_is_the_uninterrupted_one(make: MakeTrainer, stopped: Stopped, place: Place) -> None:
    trainer, first = resumed(make, stopped, place)
    assert differing(everything(trainer), stopped.end) == set()
    assert (json.loads(first["epoch"]), json.loads(first["step"])) == place


WHOLE_EPOCH = [
    "model.density", "model.deformation", "model.latents", "optimiser.gaussians", "optimiser.decoder",
    "optimiser.latents", "optimiser.poses", "poses", "progress.noise_power", "progress.first_noise", "epoch",
    "joint_epochs", "strength", "stiffer",
    "rises", "last_loss", "quarantine", "rollbacks",
]  # fmt: skip
WITHIN = [*WHOLE_EPOCH, "step", "seen", "progress.power", "progress.rest", "progress.contrast", "progress.factor"]
# Of particles whose noise is alike they are empty: see test_noise_groups.py.
OF_GROUPS = ["progress.groups", "progress.group_noise"]
# They decide what is reported of the epoch, and when a training is given up, which this one never is.
COUNTED = ["totals", "skipped", "skipped_in_a_row", "tried", "whole"]


def leave_out(run: Run, item: str, fresh: HalfTrainer) -> Any:
    """What the run's checkpoint holds without an item, or with what a fresh trainer has in its place."""
    (path,) = run.store.series("half1")
    tensors, state = run.store.read(path)
    assert any(key.startswith(item) for key in [*tensors, *state["numbers"], *state["progress"]]), item
    kept = {key: value for key, value in tensors.items() if not key.startswith(item)}
    kept |= {f"model.{k}": v for k, v in fresh.model.state_dict().items() if f"model.{k}" not in kept}
    kept.setdefault("poses", torch.zeros_like(tensors["poses"]))
    numbers = {key: value for key, value in state["numbers"].items() if not key.startswith(item)}
    progress = {key: value for key, value in state["progress"].items() if key != item}
    return kept, {**state, "numbers": numbers, "progress": progress}


@pytest.mark.parametrize(
    ("place", "item"),
    [(Place(2), "last_loss")] + [(Place(2, 2), item) for item in WITHIN + COUNTED],
)
def test_nothing_that_is_saved_could_be_left_out(
    make: MakeTrainer, stopped: Stopped, place: Place, item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = resumed(make, stopped, place)[1] if item in COUNTED else stopped.end
    run = stopped.runs[place]
    without = leave_out(run, item, make(**stopped.settings))
    monkeypatch.setattr(run, "load_checkpoint", lambda _name: without)
    try:
        trainer, first = resumed(make, stopped, place)
    except (RuntimeError, IndexError):
        return  # not even a wrong training came of it
    assert differing(first if item in COUNTED else everything(trainer), whole)


def test_every_saved_item_is_among_those_left_out(make: MakeTrainer, stopped: Stopped) -> None:
    run = stopped.runs[Place(2, 2)]
    tensors, state = run.store.read(run.store.series("half1")[0])
    saved = [*tensors, *state["numbers"], *state["progress"]]
    assert [name for name in saved if not name.startswith(tuple(WITHIN + COUNTED + OF_GROUPS))] == []


def test_a_checkpoint_of_other_particles_is_refused(make: MakeTrainer, stopped: Stopped) -> None:
    with pytest.raises(DamagedCheckpointError) as refused:
        checkpoint.restore(stopped.runs[Place(3)], make(**stopped.settings), "another digest")
    assert refused.value.exit_code == 8
