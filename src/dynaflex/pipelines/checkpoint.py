"""A half's training on disk: everything that the next epoch depends on, and nothing else."""

from __future__ import annotations

from typing import Any

import torch

from dynaflex.errors import DamagedCheckpointError
from dynaflex.pipelines.method import Trainer
from dynaflex.pipelines.run import Run
from dynaflex.shapes import Tensor


def save(run: Run, trainer: Trainer, digest: str) -> None:
    """Write the state of a trainer after an epoch; ``digest`` identifies the particles of its half."""
    tensors = {f"model.{key}": value for key, value in trainer.model.state_dict().items()}
    numbers: dict[str, Any] = {}
    for name, optimiser in trainer.optimisers.items():
        for index, slots in optimiser.state_dict()["state"].items():
            for slot, value in slots.items():
                key = f"optimiser.{name}.{index}.{slot}"
                if isinstance(value, torch.Tensor):
                    tensors[key] = value
                else:
                    numbers[key] = value
    tensors["noise_power"] = trainer.progress.noise_power
    if trainer.poses is not None:
        tensors["poses"] = trainer.poses.table.weight
    state = {
        "half": trainer.data.half,
        "digest": digest,
        "finished": trainer.finished,
        "numbers": numbers,
        "progress": {
            name: value for name, value in vars(trainer.progress).items() if not isinstance(value, torch.Tensor)
        },
    }
    run.save_checkpoint(f"half{trainer.data.half}", trainer.progress.epoch, tensors, state)


def restore(run: Run, trainer: Trainer, digest: str) -> bool:
    """Continue from the newest checkpoint of the trainer's half; False if there is none.

    Raises:
        DamagedCheckpointError: the checkpoint was made from other particles.
    """
    loaded = run.load_checkpoint(f"half{trainer.data.half}")
    if loaded is None:
        return False
    tensors, state = loaded
    if state["digest"] != digest:
        raise DamagedCheckpointError(
            "checkpoint.other-particles",
            f"the checkpoint of half {trainer.data.half} was trained on other particles",
            file=run.checkpoints,
            expected="the same particles in the same halves",
            fix="resume with the STAR file that the run was started with",
        )
    trainer.model.load_state_dict(model_state(tensors))
    for name, optimiser in trainer.optimisers.items():
        _restore_optimiser(optimiser, f"optimiser.{name}.", tensors, state["numbers"])
    for name, value in state["progress"].items():
        setattr(trainer.progress, name, value)
    trainer.progress.noise_power = tensors["noise_power"].to(trainer.data.device)
    if trainer.poses is not None:
        trainer.poses.table.weight.data.copy_(tensors["poses"])
    trainer.restored()
    return True


def model_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of the model among a checkpoint's tensors."""
    return {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    slots: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **numbers}.items():
        if key.startswith(prefix):
            index, slot = key.removeprefix(prefix).split(".")
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
