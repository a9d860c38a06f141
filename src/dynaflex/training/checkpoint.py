"""A half's training on disk: everything that the next update depends on, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from dynaflex.errors import DamagedCheckpointError, OtherVersionError
from dynaflex.model import FlexModel
from dynaflex.run.directory import Run
from dynaflex.run.refusals import to_resume
from dynaflex.shapes import Tensor
from dynaflex.training.method import Trainer
from dynaflex.training.steps import Diverged
from dynaflex.version import __version__


def save(run: Run, trainer: Trainer, digest: str) -> None:
    """Write the state of a trainer between two updates; ``digest`` identifies the particles of its half.

    Raises:
        Diverged: a number in it is not finite; nothing is written.
    """
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
    if trainer.poses is not None:
        tensors["poses"] = trainer.poses.table.weight
    progress: dict[str, Any] = {}
    for name, value in vars(trainer.progress).items():
        if isinstance(value, torch.Tensor):
            tensors[f"progress.{name}"] = value
        elif value != math.inf:
            # What is infinite still is in a fresh training, and infinity is not JSON.
            progress[name] = value
    _require_finite(tensors, trainer)
    state = {
        "half": trainer.data.half,
        "digest": digest,
        "finished": trainer.finished,
        "numbers": numbers,
        "progress": progress,
    }
    place = trainer.progress
    run.save_checkpoint(f"half{trainer.data.half}", place.epoch, tensors, state, step=place.step)


def _require_finite(tensors: dict[str, Tensor], trainer: Trainer) -> None:
    lost = [name for name, tensor in tensors.items() if not bool(tensor.detach().isfinite().all())]
    if lost:
        raise Diverged(
            "training.not-finite",
            "the training holds numbers that are not finite, and is not saved",
            found=f"{lost[0]} of half {trainer.data.half}, epoch {trainer.progress.epoch}",
        )


def restore(run: Run, trainer: Trainer, digest: str) -> bool:
    """Continue from the newest checkpoint of the trainer's half; False if there is none.

    Raises:
        DamagedCheckpointError: the checkpoint was made from other particles.
        OtherVersionError: another version made it, of a model with other parts.
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
    model = model_state(tensors)
    trainer.expect(model)
    fill(trainer.model, model, run)
    for name, optimiser in trainer.optimisers.items():
        _restore_optimiser(optimiser, f"optimiser.{name}.", tensors, state["numbers"])
    for name, value in state["progress"].items():
        setattr(trainer.progress, name, value)
    for key, tensor in tensors.items():
        if key.startswith("progress."):
            setattr(trainer.progress, key.removeprefix("progress."), tensor.to(trainer.data.device))
    if trainer.poses is not None:
        trainer.poses.table.weight.data.copy_(tensors["poses"])
    trainer.restored()
    return True


def final(run: Run, half: int) -> dict[str, Tensor]:
    """The tensors of a half, 0 for both as one, at the end of its training. No older checkpoint stands for that: it
    holds another model, to which the latents do not belong.

    Raises:
        DamagedCheckpointError: the last checkpoint is not whole, or not the end.
    """
    path, problem = next(run.store.newest(f"half{half}"), run.checkpoints), "no checkpoint of its end"
    try:
        tensors, state = run.store.read(path)
        if state["finished"]:
            return tensors
    except DamagedCheckpointError as damaged:
        problem = damaged.problem
    raise DamagedCheckpointError(
        "checkpoint.not-final", f"the end of the training of half {half} is damaged or missing", file=path,
        expected="the checkpoint that the latents were found with", found=problem,
        fix=f"{to_resume(run.path)}, which trains from the last whole one on; or put a copy back",
    )  # fmt: skip


def is_final(run: Run, half: int) -> bool:
    """True if the end of the training of a half is there, whole, with the latents that were found with it."""
    try:
        final(run, half)
        run.store.read(next(run.store.newest(f"latents{half}"), run.checkpoints))
    except DamagedCheckpointError:
        return False
    return True


def model_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of the model among a checkpoint's tensors."""
    return {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}


def fill(model: FlexModel, state: Mapping[str, Tensor], run: Run) -> None:
    """Give a model what a checkpoint of the run has of it, its ``state``.

    Raises:
        OtherVersionError: the model of the run has other parts, or parts of other sizes.
    """
    sizes, stored = ({name: tuple(part.shape) for name, part in one.items()} for one in (model.state_dict(), state))
    odd = sorted(name for name in sizes.keys() | stored.keys() if sizes.get(name) != stored.get(name))
    if odd:
        raise OtherVersionError(
            "run.other-model", f"the model of this run is made otherwise than that of dynaflex {__version__}",
            file=run.checkpoints, field=odd[0], expected=sizes.get(odd[0], "none"), found=stored.get(odd[0], "none"),
            fix="work on this run with the version that made it, or start another with this version and another -o",
        )  # fmt: skip
    model.load_state_dict(state)


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    slots: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **numbers}.items():
        if key.startswith(prefix):
            index, slot = key.removeprefix(prefix).split(".")
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
