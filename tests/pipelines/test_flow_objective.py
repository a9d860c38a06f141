"""Laws of what the flow of 3DFlex lowers: its images are predicted all over the posterior of their latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dynaflex.imaging.noise import noise_weights
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.flex.train import FlexTrainer
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
    model, every = half.model.requires_grad_(True), torch.arange(len(data))
    trainer = FlexTrainer(model, data, every, FlexConfig(), start=lambda: torch.zeros(len(data), 2))
    draw = torch.randn(SOME, trainer.config.latent_dim, generator=torch.Generator().manual_seed(0))
    batch = data.batch(every[:SOME], draw)

    added = trainer._accumulate(batch, 1.0, weights=loudness * noise_weights(half.noise_power, data.grid))

    drawn = model.deformed(trainer.table.mean_of(batch.index) + width * draw)
    moved = (drawn - model.density.points()).square().sum(-1).mean().sqrt()
    assert added.figures["rms_displacement"] == pytest.approx(moved.item(), rel=1e-3)
