"""Laws of the checkpoint: it holds all that the next epoch depends on, and nothing that could be left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dynaflex.errors import DamagedCheckpointError
from dynaflex.pipelines import checkpoint
from dynaflex.pipelines.dynamight.train import HalfTrainer
from dynaflex.pipelines.run import Run
from dynaflex.shapes import Tensor

MakeTrainer = Callable[..., HalfTrainer]
Stopped = tuple[Run, dict[str, Any], dict[str, Any]]

SETTINGS: dict[str, Any] = {
    "epochs": 12, "warm_up_epochs": 1, "refresh_every": 2, "refresh_epochs": 1, "replace_every": 3, "patience": 90,
    "refine_poses": True,
}  # fmt: skip
# The third epoch is a joint one, which counts rises; the fourth moves the Gaussians alone, with lambda as it was.
STOPS, END = (2, 3), 5


def silent(_figures: dict[str, Any]) -> None:
    """Nobody listens."""


def everything(trainer: HalfTrainer) -> dict[str, Any]:
    """All that a training is, by name."""
    state: dict[str, Any] = {f"model.{name}": value.clone() for name, value in trainer.model.state_dict().items()}
    for name, optimiser in trainer.optimisers.items():
        for index, slots in optimiser.state_dict()["state"].items():
            state |= {f"{name}.{index}.{slot}": torch.as_tensor(value).clone() for slot, value in slots.items()}
    state |= {name: torch.as_tensor(value).clone() for name, value in vars(trainer.progress).items()}
    if trainer.poses is not None:
        state["poses"] = trainer.poses.table.weight.detach().clone()
    return state


def differing(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    assert first.keys() == second.keys()
    return {name for name in first if not torch.equal(first[name], second[name])}


@pytest.fixture(scope="module", params=["table", "encoder"])
def stopped(request: pytest.FixtureRequest, make: MakeTrainer, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """A run saved after two and after three epochs, and what an uninterrupted training is after five."""
    run = Run.create(tmp_path_factory.mktemp("stopped") / "run", "dynamight", {}, {})
    settings = {**SETTINGS, "latents": request.param}
    trainer = make(**settings)
    for epoch in range(END):
        if epoch == STOPS[0]:
            trainer.progress.rises, trainer.progress.last_loss = 5, 0.0  # the next epoch will count as a rise
        if epoch in STOPS:
            checkpoint.save(run, trainer, "digest")
        trainer.run_epoch(silent)
    return run, settings, everything(trainer)


def resumed(make: MakeTrainer, run: Run, settings: dict[str, Any]) -> dict[str, Any]:
    trainer = make(**settings)
    assert checkpoint.restore(run, trainer, "digest")
    assert trainer.progress.epoch in STOPS
    while trainer.progress.epoch < END:
        trainer.run_epoch(silent)
    return everything(trainer)


def test_a_resumed_training_is_the_uninterrupted_one(make: MakeTrainer, stopped: Stopped) -> None:
    run, settings, whole = stopped
    assert differing(resumed(make, run, settings), whole) == set()


@pytest.mark.parametrize(
    "item",
    ["model.density", "model.deformation", "model.latents", "optimiser.gaussians", "optimiser.decoder",
     "optimiser.latents", "optimiser.poses", "noise_power", "poses", "joint_epochs", "strength", "rises", "last_loss"],
)  # fmt: skip
def test_nothing_that_is_saved_could_be_left_out(
    make: MakeTrainer, stopped: Stopped, item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, settings, whole = stopped
    fresh = make(**settings)
    name = f"half1_{STOPS[0] if item == 'last_loss' else STOPS[1]:05d}"
    tensors = load_file(run.checkpoints / name / "state.safetensors")
    state = json.loads((run.checkpoints / name / "state.json").read_text())

    def forgetful(_name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        kept = {key: value for key, value in tensors.items() if not key.startswith(item)}
        kept |= {f"model.{k}": v for k, v in fresh.model.state_dict().items() if f"model.{k}" not in kept}
        kept.setdefault("noise_power", fresh.progress.noise_power)
        kept.setdefault("poses", torch.zeros_like(tensors["poses"]))
        numbers = {key: value for key, value in state["numbers"].items() if not key.startswith(item)}
        progress = {key: value for key, value in state["progress"].items() if key != item}
        return kept, {**state, "numbers": numbers, "progress": progress}

    monkeypatch.setattr(run, "load_checkpoint", forgetful)
    assert differing(resumed(make, run, settings), whole)


def test_a_checkpoint_of_other_particles_is_refused(make: MakeTrainer, stopped: Stopped) -> None:
    run, settings, _ = stopped
    with pytest.raises(DamagedCheckpointError) as refused:
        checkpoint.restore(run, make(**settings), "another digest")
    assert refused.value.exit_code == 8
