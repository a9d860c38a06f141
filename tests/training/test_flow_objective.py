"""Laws of what the flow of 3DFlex lowers: images are predicted all over the posterior of their latents, and cells are
as stiff as their strain says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dynaflex.latents.posterior import Posterior
from dynaflex.losses.rigidity import amounts, stiffness
from dynaflex.methods.flex import train
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.shapes import Tensor

MakeFlex = Callable[..., FlexTrainer]
SOME = 8


@pytest.mark.parametrize(("loudness", "width"), [(1e-9, 1.0), (1e9, 0.0)], ids=["unheard", "certain"])
def test_latents_are_drawn_as_widely_as_their_images_leave_them(
    make_flex: MakeFlex, loudness: float, width: float
) -> None:
    trainer = make_flex()
    data, model, every = trainer.data, trainer.model, trainer.training
    draw = torch.randn(SOME, trainer.config.latent_dim, generator=torch.Generator().manual_seed(0))
    batch = data.batch(every[:SOME], noise=draw)

    added = trainer._accumulate(batch, 1.0, weights=loudness * trainer.weights())

    drawn = model.deformed(trainer.table.mean_of(batch.index) + width * draw)
    moved = (drawn - model.density.points()).square().sum(-1).mean().sqrt()
    assert added.figures["rms_displacement"] == pytest.approx(moved.item(), rel=1e-3)


def test_the_flow_learns_what_tells_particles_apart_and_nothing_that_all_of_them_want(
    make_flex: MakeFlex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From images of one conformation, which the map does not show, it learns nothing."""
    trainer = make_flex(rigidity=0.0)
    everyone, few = torch.arange(len(trainer.data)), trainer.training[:SOME]
    batch = trainer.data.batch(few, noise=torch.zeros(SOME, trainer.config.latent_dim))

    def gradient(apart: float) -> float:
        """What is learned from particles that stand on either side of a conformation, so far apart."""
        where = torch.tensor([0.8, -0.3]) + apart * torch.where(everyone % 2 == 0, 0.5, -0.5)[:, None]
        trainer.table.set_mean(everyone, where)
        trainer._begin_map()
        found = Posterior(where[few], torch.zeros(SOME, trainer.config.latent_dim))
        monkeypatch.setattr(trainer, "_found", lambda *_: found)
        trainer.flow.zero_grad()
        trainer._accumulate(batch, 1.0, weights=trainer.weights())
        learned = trainer.flow.network.w_out.grad
        assert learned is not None
        return float(learned.abs().max())

    assert float(trainer.flow.vertex_displacement(torch.tensor([[0.8, -0.3]])).detach().abs().max()) > 0.1
    assert gradient(apart=0.0) < 1e-3 * gradient(apart=1.0)


def test_cells_are_as_stiff_as_their_strain_says_once_it_is_known(make_flex: MakeFlex) -> None:
    trainer = make_flex()
    alike = amounts(trainer.moves.mesh)

    trainer._end_motion()
    trainer._begin_motion()
    assert torch.equal(trainer.rigidity_table.weights, alike.double())

    trainer.progress.epoch = trainer.epochs // 2
    trainer._end_motion()
    trainer._begin_motion()
    strain = trainer.progress.strain
    assert bool((strain > 0).any()) and torch.equal(trainer.rigidity_table.weights, stiffness(strain, alike).double())


@pytest.mark.parametrize(("share", "elsewhere"), [(0.3, False), (0.5, True)])
def test_latents_are_looked_for_elsewhere_once_it_is_known_where_the_molecule_gives(
    make_flex: MakeFlex, monkeypatch: pytest.MonkeyPatch, share: float, elsewhere: bool
) -> None:
    trainer = make_flex(epochs=60)
    asked = []

    def best(*given: Any) -> Tensor:
        asked.append(given[3])
        latents: Tensor = given[-1]
        return latents

    monkeypatch.setattr(train, "best_start", best)
    trainer.progress.epoch = round(share * trainer.epochs)
    trainer._found(trainer.data.batch(trainer.training[:SOME]), trainer.weights())
    assert bool(asked) is elsewhere
