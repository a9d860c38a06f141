"""Laws of a training on optics groups whose noise differs."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.imaging.noise_groups import NoiseKinds
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.prepare.half import HalfSet
from dynaflex.training.undone import undone

Trained = Callable[..., tuple[HalfTrainer, list[dict[str, Any]]]]


def in_groups(data: HalfSet, numbers: tuple[int, int], stronger: float = 3.0) -> HalfSet:
    """The half-set in two groups by turns, of these numbers; the second is coloured otherwise."""
    given, grid = copy(data), data.grid
    group = np.resize(np.array(numbers), len(data))
    colour = fourier.spread_shells(torch.linspace(stronger, 1.0 / stronger, grid.n_shells), grid, 2)
    images = data.images.float()
    images[1::2] = fourier.inverse_transform(fourier.transform(images[1::2], 2) * colour, 2)
    given.images = images.to(data.images.dtype)
    given.particles = replace(data.particles, group=group)
    kind = torch.from_numpy(np.unique(group, return_inverse=True)[1])
    given.kinds = NoiseKinds(torch.tensor(sorted(numbers)), torch.arange(2), kind, torch.ones(2, dtype=torch.bool))
    return given


@pytest.fixture
def trained(make: Callable[..., HalfTrainer]) -> Trained:
    """Some epochs of a training on a half-set, and what they report."""

    def after(data: HalfSet, epochs: int) -> tuple[HalfTrainer, list[dict[str, Any]]]:
        usual, lines = make(epochs=6, warm_up_epochs=1), list[dict[str, Any]]()
        trainer = HalfTrainer(usual.model, data, usual.training, usual.config, matter=usual.matter)
        for _ in range(epochs):
            trainer.run_epoch(lines.append)
        return trainer, lines

    return after


def test_the_noise_of_groups_is_learned_and_given_back(trained: Trained, data: HalfSet) -> None:
    trainer, _ = trained(in_groups(data, (1, 2)), 2)
    state = trainer.progress
    assert state.groups.tolist() == [1, 2] and state.group_noise.shape == (2, data.grid.n_shells)
    ratio = state.group_noise[1, 1:-1] / state.group_noise[0, 1:-1]
    assert float(ratio[0]) > 4.0 * float(ratio[-1])
    share = trainer.data.kinds.share(trainer.training)
    assert torch.allclose(share @ state.group_noise, torch.ones(data.grid.n_shells), atol=1e-5)
    before, ctf = state.group_noise.clone(), trainer.data.batch(torch.arange(4)).ctf
    with undone(trainer):
        trainer.run_epoch(lambda _line: None)
        assert not torch.equal(state.group_noise, before)
    assert torch.equal(state.group_noise, before) and torch.equal(trainer.data.batch(torch.arange(4)).ctf, ctf)


def test_groups_may_have_any_names(trained: Trained, data: HalfSet) -> None:
    one, other = (trained(in_groups(data, numbers), 2)[1][-1] for numbers in ((1, 2), (9, 4)))
    for name in ("data_loss", "log_likelihood", "held_out_log_likelihood", "gain", "contrast_spread"):
        assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-3), name


def test_a_likelihood_is_that_of_the_images_whatever_they_are_divided_by(trained: Trained, data: HalfSet) -> None:
    """The same figures against the same first noise, however groups are seen by now."""
    trainer, lines = trained(in_groups(data, (1, 2)), 1)
    assert trainer.progress.first_noise.shape == (2, data.grid.n_shells)
    for noise in (trainer.data.noise, replace(trainer.data.noise, relative=trainer.data.noise.relative.flip(0))):
        trainer.data.see(noise)
        again = trainer.likelihood.figures(trainer.progress)
        for name, value in again.items():
            assert value == pytest.approx(lines[-1][name], rel=1e-4, abs=0.02), name


def test_noise_of_its_own_makes_images_likelier_than_that_of_all(trained: Trained, data: HalfSet) -> None:
    split = in_groups(data, (1, 2))
    pooled = copy(split)
    pooled.kinds = NoiseKinds.among(np.ones(len(data)), np.arange(len(data)), data.window, data.grid)
    ours, theirs = (trained(one, 3)[1][-1] for one in (split, pooled))
    for name in ("log_likelihood", "held_out_log_likelihood"):
        assert ours[name] > theirs[name] + 10.0, name
    assert ours["data_loss"] < theirs["data_loss"] - 10.0
