"""Laws of memory that runs out: wherever it does, the work on particles is done in smaller parts, to the same end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dynaflex.prepare.inputs import InputPaths, read_inputs
from dynaflex.results.half_maps.made import AS_USUAL, _from_half
from dynaflex.results.reopen import reopened
from dynaflex.results.support import _trial
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.run.stop import Stop
from dynaflex.shapes import Tensor
from dynaflex.simulation.particles import simulate
from dynaflex.training.final_latents import find_final_latents
from dynaflex.training.installed import method_named
from dynaflex.training.loop import half_set
from dynaflex.training.method import Trainer, Work
from scarce import Scarce

BOX = 24
CPU = torch.device("cpu")
SETTINGS: dict[str, dict[str, Any]] = {
    "dynamight": {"n_gaussians": 60, "layers": 2, "width": 16, "warm_up_epochs": 1, "refine_poses": True},
    "flex": {"cells": 6, "layers": 2, "width": 16, "fixed_map_epochs": 1},
}
FAR = 1e-2
"""Rounding, after some updates: Adam makes much of gradients that are next to nothing."""
Stage = Callable[[], dict[str, Tensor]]


def unheard(_figures: object = None, _other: object = None) -> None:
    """Nobody listens."""


class Kept:
    """The run that latents are written into."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def save_checkpoint(self, _series: str, _epoch: int, tensors: dict[str, Tensor], _state: object) -> None:
        self.tensors = tensors

    def warn(self, message: str) -> None:
        raise AssertionError(message)


@pytest.fixture(scope="session")
def data(made_once: Callable[..., Path]) -> InputPaths:
    folder = made_once("scarce", lambda path: simulate(path, 100, BOX, 8.0, 1.0, "hinge", 0))
    return InputPaths(folder / "particles.star", folder / "consensus.mrc", folder / "mask.mrc")


@pytest.fixture(scope="session")
def trainer_of(data: InputPaths) -> Callable[[str], Trainer]:
    def made(name: str) -> Trainer:
        method = method_named(name)
        config = method.config(epochs=4, batch_size=10, held_out_fraction=0.2, **SETTINGS[name])
        inputs = read_inputs(data, config)
        plan = method.examine(inputs, config)
        work: Any = Work(None, inputs, method.settled(config, plan), plan, CPU)  # type: ignore[arg-type]
        return method.trainer(work, *half_set(work, 1))

    return made


def trained(trainer: Trainer, epochs: int) -> dict[str, Tensor]:
    for _ in range(epochs):
        trainer.run_epoch(unheard, unheard)
    return {**trainer.model.state_dict(), "noise": trainer.progress.noise_power, "contrast": trainer.data.contrast}


def last_latents(trainer: Trainer) -> dict[str, Tensor]:
    kept = Kept()
    find_final_latents(kept, trainer)  # type: ignore[arg-type]
    return kept.tensors


@pytest.fixture(scope="session")
def stages(trainer_of: Callable[[str], Trainer], brief_run: Path) -> dict[str, Callable[[], Stage]]:
    """By name, what makes a stage ready, whose result does not depend on who was there before."""
    run = Run.open(brief_run)
    inputs = reopened(run)
    mask = inputs.mask_on(inputs.full_imaging.grid)

    def training(name: str) -> Stage:
        trainer = trainer_of(name)
        return lambda: trained(trainer, 3)

    def latents(name: str) -> Stage:
        trainer = trainer_of(name)
        trained(trainer, 2)
        return lambda: last_latents(trainer)

    def maps() -> dict[str, Tensor]:
        made = _from_half(run, inputs, inputs.full_imaging, mask, CPU, AS_USUAL, {}, 1, Stop())
        return dict(zip(("model", "rigid", "corrected"), made, strict=True))

    def support() -> dict[str, Tensor]:
        half = load_half(run, 1)
        some = inputs.some_held_out(12)
        found = _trial(
            run, inputs, some, torch.ones(len(some)), half.model.density.points()[:1].detach(), CPU, 1, Stop()
        )
        return {name: torch.from_numpy(value) for name, value in vars(found).items()}

    return {
        "dynamight": lambda: training("dynamight"),
        "flex": lambda: training("flex"),
        "dynamight, last latents": lambda: latents("dynamight"),
        "flex, last latents": lambda: latents("flex"),
        "maps": lambda: maps,
        "support": lambda: support,
    }


def apart(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """How far results are from each other, relative to how large they are."""
    assert found.keys() == expected.keys()
    return {
        name: float((found[name].double() - value.double()).norm() / value.double().norm().clamp(min=1e-9))
        for name, value in expected.items()
        if value.numel()
    }


NAMES = ("dynamight", "flex", "dynamight, last latents", "flex, last latents", "maps", "support")


def survives(make: Callable[[], Stage], box: int, tries: int, error: Callable[[], Exception] | None = None) -> None:
    stage = make()
    with Scarce(box) as everything:
        expected = stage()
    places = everything.places
    assert len(places) > 20
    # The first of each line of the sources, and of these some, evenly.
    firsts = sorted({place: len(places) - 1 - number for number, place in enumerate(reversed(places))}.values())
    failed = {}
    for at in firsts[:: max(1, len(firsts) // tries)]:
        stage = make()
        try:
            with Scarce(box, at, error) as scarce:
                found = stage()
        except (RuntimeError, MemoryError) as lost:
            failed[places[at]] = repr(lost)
            continue
        assert len(scarce.places) > at, "memory ran out"
        if far := {name: value for name, value in apart(found, expected).items() if not value < FAR}:
            failed[places[at]] = str(far)
    assert not failed, (len(firsts), failed)


@pytest.mark.parametrize("name", NAMES)
def test_memory_that_runs_out_once_changes_nothing(stages: dict[str, Callable[[], Stage]], name: str) -> None:
    survives(stages[name], 32 if name in ("maps", "support") else BOX, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_wherever_memory_runs_out(stages: dict[str, Callable[[], Stage]], name: str) -> None:
    survives(stages[name], 32 if name in ("maps", "support") else BOX, 10_000)


@pytest.mark.parametrize(
    "error",
    [
        lambda: MemoryError(),
        lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    ],
    ids=["numpy", "torch"],
)
def test_the_memory_of_the_processor_runs_out_in_other_words(
    stages: dict[str, Callable[[], Stage]], error: Callable[[], Exception]
) -> None:
    survives(stages["flex, last latents"], BOX, 1, error)
