"""Laws of what a training is judged by: it rises while the fit improves, and is measured alike in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from dynaflex.data.preprocess import circular_mask
from dynaflex.imaging.noise import noise_weights
from dynaflex.inference.newton import infer
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.prepare.inputs import Inputs
from dynaflex.shapes import Tensor
from dynaflex.training.likelihood import MOST, some_of
from dynaflex.training.loop import _figures
from swinging import misfit_of
from written import curves

MakeTrainer = Callable[..., HalfTrainer]


def epochs_of(trainer: HalfTrainer, count: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for _ in range(count):
        trainer.run_epoch(lines.append)
    return lines


@pytest.mark.parametrize("fixture", ["finished_run", "flex_run"])
@pytest.mark.parametrize("half", [1, 2])
def test_the_likelihood_rises_while_a_motion_is_learned(
    fixture: str, half: int, request: pytest.FixtureRequest
) -> None:
    for name, curve in curves(request.getfixturevalue(fixture), half).items():
        if name.endswith("log_likelihood"):
            assert curve[-1] > curve[0] + 10.0, name
            assert spearmanr(curve, np.arange(len(curve))).statistic > 0.8, name
        else:
            # The gain is over a map at rest that becomes better as well, and need not rise for ever.
            assert curve[-1] > 10.0, name


def test_every_epoch_is_measured_with_the_noise_of_the_first(make: MakeTrainer) -> None:
    trainer = make(epochs=6, warm_up_epochs=1)
    lines = epochs_of(trainer, 1)
    first = trainer.progress.first_noise.clone()
    lines += epochs_of(trainer, 3)
    assert torch.equal(trainer.progress.first_noise, first)
    assert not torch.allclose(trainer.progress.noise_power, first, rtol=0.01)
    again = trainer.likelihood.figures(trainer.progress)
    assert all(again[name] == pytest.approx(lines[-1][name], abs=1e-3) for name in again)


def test_the_noise_is_measured_where_the_particle_is(make: MakeTrainer, inputs: Inputs) -> None:
    trainer = make()
    imaging, data = inputs.imaging, copy(trainer.data)
    around = 1.0 - circular_mask(imaging.grid, imaging.diameter + 2.0 * imaging.edge, 0.0)
    data.images = torch.randn(data.images.shape, generator=torch.Generator().manual_seed(0)) * (1.0 + 4.0 * around)
    trainer.likelihood.data = data
    with torch.no_grad():
        trainer.model.density.get_parameter("log_amplitude").sub_(20.0)
    trainer.likelihood.figures(trainer.progress)
    assert float(trainer.progress.first_noise[1:-1].mean()) == pytest.approx(1.0, abs=0.05)


def test_the_gain_is_the_loss_at_rest_less_the_loss(make: MakeTrainer) -> None:
    trainer = make(epochs=6, warm_up_epochs=1)
    lines = epochs_of(trainer, 4)
    assert abs(lines[0]["gain"]) < 1e-3 and abs(lines[0]["held_out_gain"]) < 1e-3
    watched, model = trainer.likelihood, trainer.model
    weights = noise_weights(trainer.progress.first_noise, trainer.data.grid)

    def batch_of(index: Tensor) -> Any:
        return trainer.data.batch(index)

    table = model.latents.get_parameter("table.weight").detach()[:, :6]
    middle = table[watched.training].mean(dim=0)
    for prefix, index in (("", watched.training), ("held_out_", watched.held_out)):
        moved = misfit_of(model, batch_of(index), weights, table[index])
        rest = misfit_of(model, batch_of(index), weights, middle.expand(len(index), -1))
        assert lines[-1][f"{prefix}gain"] == pytest.approx(float((rest - moved).mean()), abs=1e-3)


def test_held_out_particles_are_found_better_and_better(make: MakeTrainer) -> None:
    """One step an epoch from where they stand comes to where many steps come from there."""
    trainer = make(epochs=8, warm_up_epochs=1)
    epochs_of(trainer, 8)
    index = trainer.likelihood.held_out
    batch = trainer.data.batch(index)
    weights = noise_weights(trainer.progress.noise_power, trainer.data.grid)
    here = trainer.model.latents.get_parameter("table.weight").detach()[index, :6]
    best = infer(trainer.model, batch, weights, here, 8).mean
    lost = misfit_of(trainer.model, batch, weights, here) - misfit_of(trainer.model, batch, weights, best)
    assert float(lost.mean()) < 0.5


@pytest.mark.parametrize("latents", ["table", "encoder"])
def test_one_image_that_is_not_finite_spoils_no_figure(make: MakeTrainer, latents: str) -> None:
    trainer = make(epochs=3, warm_up_epochs=0, latents=latents)
    trainer.likelihood.data = copy(trainer.data)
    trainer.likelihood.data.images = trainer.data.images.clone()
    trainer.likelihood.data.images[trainer.likelihood.held_out[0]] = torch.nan
    line = epochs_of(trainer, 1)[0]
    assert all(np.isfinite(line[prefix + name]) for prefix in ("", "held_out_") for name in ("log_likelihood", "gain"))


def test_without_particles_held_out_nothing_is_said_of_them(make: MakeTrainer) -> None:
    trainer = make(epochs=2, warm_up_epochs=0)
    trainer.likelihood.held_out = trainer.likelihood.held_out[:0]
    line = epochs_of(trainer, 1)[0]
    assert "gain" in line and not any(name.startswith("held_out") for name in line)


@pytest.mark.parametrize("count", [0, 1, 20, 300, 5000, 100_000])
def test_particles_are_judged_that_are_spread_over_all(count: int) -> None:
    chosen = some_of(3 * torch.arange(count), count)
    assert len(chosen) <= min(count, MOST) and len(chosen.unique()) == len(chosen)
    if count > MOST:
        assert int(chosen[0]) < 0.1 * 3 * count and int(chosen[-1]) > 0.9 * 3 * count
        assert int(chosen.diff().max()) <= int(chosen.diff().min()) + 3


def test_the_bar_shows_what_improves() -> None:
    line = {"data_loss": 1561.0, "gain": 3.21, "rms_displacement": 1.854}
    assert _figures(line) == "gain 3.2 nats, moves 1.85 Å"
    assert _figures({"gain": 3.21, "band": 12}) == ""
