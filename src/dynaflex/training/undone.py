"""Trying something in a training without leaving a trace of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from dynaflex.training.method import Trainer


@contextmanager
def undone(trainer: Trainer) -> Iterator[None]:
    """Whatever is done to the model, poses, optimisers and progress of a trainer inside is undone at the end."""
    learned = [trainer.model, *([] if trainer.poses is None else [trainer.poses])]
    states = [{name: value.clone() for name, value in one.state_dict().items()} for one in learned]
    optimisers = {name: copy.deepcopy(one.state_dict()) for name, one in trainer.optimisers.items()}
    progress = copy.deepcopy(vars(trainer.progress))
    try:
        yield
    finally:
        for module, state in zip(learned, states, strict=True):
            module.load_state_dict(state)
        for name, one in trainer.optimisers.items():
            one.load_state_dict(optimisers[name])
        vars(trainer.progress).update(progress)
        trainer.restored()
