"""What a method is to the pipeline that runs it: how it prepares, what trains a half, and how a model is read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from dynaflex.grid import Grid
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.model import FlexModel
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.half import HalfSet
from dynaflex.pipelines.inputs import Inputs
from dynaflex.pipelines.steps import Steps
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor

Report = Callable[[dict[str, Any]], None]
EveryBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """A run and what it needs at hand; ``plan`` is what the method made of the inputs when it examined them."""

    run: Run
    inputs: Inputs
    config: RunConfig
    plan: Any
    device: torch.device


class Trainer(Protocol):
    """Trains the model of one half-set, one epoch at a time."""

    model: FlexModel
    data: HalfSet
    training: Tensor
    epochs: int
    progress: Any
    optimisers: dict[str, torch.optim.Optimizer]
    poses: PoseRefinement | None
    steps: Steps

    @property
    def config(self) -> RunConfig:
        """The settings that decide the result."""

    @property
    def finished(self) -> bool:
        """True after the last epoch."""

    def run_epoch(self, report: Report, every_batch: EveryBatch) -> None:
        """One sweep over the training particles, then the bookkeeping that the next one needs."""

    def restored(self) -> None:
        """Follow up on a state that was put back from a checkpoint."""


@dataclass(frozen=True)
class Method:
    """The parts in which one method differs from another.

    ``examine(inputs, config)`` refuses what cannot work before a run directory is made, and returns the plan: what both
    halves are built from, made once. ``prepare(work)`` writes down what is decided and returns what the halves share;
    ``trainer(work, data, training)`` stands before its first epoch; ``empty_model(state, particles, grid, config)`` has
    the right shapes to load a checkpoint's model ``state`` into. ``rebase(model, origin)`` is the same model with the
    conformation ``origin`` ``(k)`` at rest: density, landmarks and flow.
    """

    name: str
    config: type[RunConfig]
    examine: Callable[[Inputs, RunConfig], Any]
    prepare: Callable[[Work], list[str]]
    trainer: Callable[[Work, HalfSet, Tensor], Trainer]
    empty_model: Callable[[Mapping[str, Tensor], int, Grid, RunConfig], FlexModel]
    rebase: Callable[[FlexModel, Tensor], FlexModel]
