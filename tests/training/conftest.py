"""What the tests of the pipelines share: the files of one half of a run, and trainers of one half."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.methods.dynamight.build import build_model, prepare_consensus
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import InputPaths, Inputs, read_inputs
from dynaflex.results.reopen import reopened
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run

MAPS = (
    "map_half1",
    "map_half2",
    "rigid_half1",
    "rigid_half2",
    "map",
    "map_local",
    "local_resolution",
    "deformation_error",
)
"""The maps that every run has."""


CPU = torch.device("cpu")
MakeTrainer = Callable[..., HalfTrainer]
CLOCK = ("seconds", "memory_mb")
OWNER = ("owner", "run")
"""What names the run in a manifest of a checkpoint and in a line of the metrics."""


def belonging(run: Path, half: int) -> dict[str, bytes]:
    """Every file that belongs to one half, its rows of the latents, and its metrics but for time and memory."""
    paths = [*run.glob(f"maps/*half{half}.mrc"), *run.glob(f"checkpoints/*{half}_*/*")]
    found = {str(path.relative_to(run)): _unowned(path) for path in paths}
    with np.load(run / "latents.npz") as latents:
        rows = latents["half"] == half
        found |= {name: latents[name][rows].tobytes() for name in latents.files}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in line.items() if name not in (*CLOCK, *OWNER)} for line in lines]
    return found | {"metrics": json.dumps([line for line in kept if line["half"] == half]).encode()}


@pytest.fixture(scope="session")
def differing() -> Callable[[Path, Path, int], set[str]]:
    """``differing(run, other, half)``: what of a half is not the same, byte for byte, in two runs."""

    def names(run: Path, other: Path, half: int) -> set[str]:
        one, two = belonging(run, half), belonging(other, half)
        assert len(one) > 14
        return {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}

    return names


def _unowned(path: Path) -> bytes:
    if path.name != "manifest.json":
        return path.read_bytes()
    return json.dumps(
        {name: value for name, value in json.loads(path.read_text()).items() if name not in (*OWNER, "sha256")}
    ).encode()


@pytest.fixture(scope="session")
def inputs(few: Path) -> Inputs:
    paths = InputPaths(few / "particles.star", few / "consensus.mrc", few / "mask.mrc")
    return read_inputs(paths, DynamightConfig(n_gaussians=60))


@pytest.fixture(scope="session")
def data(inputs: Inputs) -> HalfSet:
    return HalfSet(inputs.particles.take(inputs.particles.half == 1), 1, inputs.imaging, CPU)


@pytest.fixture(scope="session")
def make(inputs: Inputs, data: HalfSet) -> MakeTrainer:
    """A fresh trainer of half 1, of a share of its particles or of all but those held out; its settings by keyword."""
    usual = inputs.learned_from(1)

    def trainer(share: float | None = None, **settings: Any) -> HalfTrainer:
        training = usual if share is None else torch.arange(round(share * len(data)))
        config = DynamightConfig(**{"n_gaussians": 60, "batch_size": 16, "layers": 3, "width": 16, **settings})
        consensus = prepare_consensus(inputs, 1, config)
        model = build_model(consensus, len(data), 1, inputs.imaging.grid, config, None)
        return HalfTrainer(model, data, training, config, matter=consensus.matter)

    return trainer


@pytest.fixture
def make_flex(flex_run: Path) -> Callable[..., FlexTrainer]:
    """A fresh trainer of a trained half 1, of a share of its particles; its settings by keyword."""
    run = Run.open(flex_run)
    inputs, half = reopened(run), load_half(run, 1)
    data = HalfSet(inputs.particles.take(inputs.members(1)), 1, inputs.imaging, CPU)

    def trainer(share: float = 1.0, **settings: Any) -> FlexTrainer:
        training = torch.arange(round(share * len(data)))
        model, start = half.model.requires_grad_(True), torch.zeros(len(data), 2)
        made = FlexTrainer(model, data, training, FlexConfig(**settings), start=lambda: start)
        made.progress.noise_power = half.noise_power
        return made

    return trainer


@pytest.fixture
def trainer(make_flex: Callable[..., FlexTrainer]) -> FlexTrainer:
    """Of a third of the particles held out."""
    return make_flex(2 / 3, batch_size=8)


@pytest.fixture(params=["flex", "dynamight"])
def any_trainer(request: pytest.FixtureRequest) -> Any:
    """Of either method, and past its first epoch."""
    if request.param == "flex":
        return request.getfixturevalue("trainer")
    made: HalfTrainer = request.getfixturevalue("make")(warm_up_epochs=0)
    made.run_epoch(lambda _figures: None)
    return made
