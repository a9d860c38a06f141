"""Laws of what the flow of 3DFlex lowers: its images are predicted all over the posterior of their latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dynaflex.imaging.noise import noise_weights
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.flex.objective import FlowObjective
from dynaflex.pipelines.half import HalfSet
from dynaflex.pipelines.predict import load_half
from dynaflex.pipelines.reopen import reopened
from dynaflex.run.directory import Run

SOME = 8


@pytest.mark.parametrize(("loudness", "width"), [(1e-9, 1.0), (1e9, 0.0)], ids=["unheard", "certain"])
def test_latents_are_drawn_as_widely_as_their_images_leave_them(flex_run: Path, loudness: float, width: float) -> None:
    run = Run.open(flex_run)
    inputs, half = reopened(run), load_half(run, 1)
    data = HalfSet(inputs.particles.take(inputs.members(1)), 1, inputs.imaging, torch.device("cpu"))
    objective = FlowObjective(half.model.requires_grad_(True), data, FlexConfig(), given=True)
    draw = torch.randn(SOME, objective.config.latent_dim, generator=torch.Generator().manual_seed(0))
    batch = data.batch(torch.arange(SOME), draw)
    weights = loudness * noise_weights(half.noise_power, data.grid)

    added = objective.accumulate(batch, 1.0, weights=weights, fixed_map=True)

    drawn = half.model.deformed(objective.table.mean_of(batch.index) + width * draw)
    moved = (drawn - half.model.density.points()).square().sum(-1).mean().sqrt()
    assert added.figures["rms_displacement"] == pytest.approx(moved.item(), rel=1e-3)
