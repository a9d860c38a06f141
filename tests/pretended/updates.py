"""``python -m pretended.updates DATA OUT``: where updates of a training wait for the pretended device, by method."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dynaflex.imaging.noise import noise_weights
from dynaflex.prepare.inputs import InputPaths, read_inputs
from dynaflex.training.installed import method_named
from dynaflex.training.loop import half_set
from dynaflex.training.method import Work
from pretended import NAME
from pretended.device import pretended

SETTINGS: dict[str, dict[str, Any]] = {
    "dynamight": {"epochs": 4, "n_gaussians": 60, "warm_up_epochs": 1},
    "flex": {"epochs": 8, "cells": 6, "start": "zero"},
}
JOINT = {"dynamight": 1, "flex": 5}
"""An epoch in which everything moves."""


def counted(data: Path, name: str) -> tuple[int, list[tuple[int, str, str]]]:
    """How many updates an epoch has, and how often which of them wait, why and where."""
    paths = InputPaths(data / "particles.star", data / "consensus.mrc", data / "mask.mrc")
    method = method_named(name)
    config = method.config(batch_size=16, layers=2, width=16, **SETTINGS[name])
    inputs = read_inputs(paths, config)
    plan = method.examine(inputs, config)
    work: Any = Work(None, inputs, method.settled(config, plan), plan, torch.device(NAME))  # type: ignore[arg-type]
    with pretended() as device:
        trainer: Any = method.trainer(work, *half_set(work, 1))
        trainer.progress.epoch = JOINT[name]
        trainer.progress.begin_epoch()
        weights = noise_weights(trainer.progress.noise_power, trainer.data.grid)
        if name == "flex":
            updates = trainer._updates(skip=0)
            take = partial(trainer._update, accumulate=partial(trainer._cross_fitted, weights=weights))
        else:
            updates = ([batch] for batch in trainer._batches(1))
            accumulate = partial(trainer._accumulate, weights=weights, phase="joint")
            take = partial(trainer.steps.take, accumulate=accumulate, optimisers=trainer.optimisers.values())
        device.waits.clear()
        done = sum(1 for batches in updates if take(batches))
        return done, [(count, *where) for where, count in device.waits.most_common()]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps({name: counted(Path(sys.argv[1]), name) for name in SETTINGS}))
