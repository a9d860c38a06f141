"""Laws of what the flow of 3DFlex lowers: images are predicted all over the posterior of their latents, and cells are
as stiff as their strain says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dynaflex.losses.rigidity import amounts, stiffness
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.prepare.half import HalfSet
from dynaflex.results.reopen import reopened
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run

SOME = 8


def trainer_of(run_folder: Path) -> FlexTrainer:
    run = Run.open(run_folder)
    inputs, half = reopened(run), load_half(run, 1)
    data = HalfSet(inputs.particles.take(inputs.members(1)), 1, inputs.imaging, torch.device("cpu"))
    every = torch.arange(len(data))
    trainer = FlexTrainer(
        half.model.requires_grad_(True), data, every, FlexConfig(), start=lambda: torch.zeros(len(data), 2)
    )
    trainer.progress.noise_power = half.noise_power
    return trainer


@pytest.mark.parametrize(("loudness", "width"), [(1e-9, 1.0), (1e9, 0.0)], ids=["unheard", "certain"])
def test_latents_are_drawn_as_widely_as_their_images_leave_them(flex_run: Path, loudness: float, width: float) -> None:
    trainer = trainer_of(flex_run)
    data, model, every = trainer.data, trainer.model, trainer.training
    draw = torch.randn(SOME, trainer.config.latent_dim, generator=torch.Generator().manual_seed(0))
    batch = data.batch(every[:SOME], noise=draw)

    added = trainer._accumulate(batch, 1.0, weights=loudness * trainer.weights())

    drawn = model.deformed(trainer.table.mean_of(batch.index) + width * draw)
    moved = (drawn - model.density.points()).square().sum(-1).mean().sqrt()
    assert added.figures["rms_displacement"] == pytest.approx(moved.item(), rel=1e-3)


def test_cells_are_as_stiff_as_their_strain_says_once_it_is_known(flex_run: Path) -> None:
    trainer = trainer_of(flex_run)
    alike = amounts(trainer.moves.mesh)

    trainer._end_motion()
    trainer._begin_motion()
    assert torch.equal(trainer.rigidity_table.weights, alike.double())

    trainer.progress.epoch = trainer.epochs // 2
    trainer._end_motion()
    trainer._begin_motion()
    strain = trainer.progress.strain
    assert bool((strain > 0).any()) and torch.equal(trainer.rigidity_table.weights, stiffness(strain, alike).double())
