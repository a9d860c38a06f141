"""Laws of the training's parts: what is trained when, how hard the prior pulls, where the reference goes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
import torch

from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.losses.data import data_loss
from dynaflex.losses.isometry import weight_of
from dynaflex.methods.dynamight import train
from dynaflex.methods.dynamight.balance import balance, geometry_loss
from dynaflex.methods.dynamight.consensus import closest_conformation
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet, keyed_generator
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor

CPU = torch.device("cpu")
MakeTrainer = Callable[..., HalfTrainer]
Stopped = tuple[Run, dict[str, Any], dict[str, Any]]


def silent(_figures: dict[str, Any]) -> None:
    """Nobody listens."""


def stir(model: FlexModel, size: float = 0.1) -> None:
    """Let the decoder, which is the identity at the start, move something."""
    with torch.no_grad():
        weight = model.deformation.get_parameter("network.motion.w_out")
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * size)


def learned(trainer: HalfTrainer) -> dict[str, Tensor]:
    """All parameters, but for the rows of particles held out, whose latents are found to judge the model by."""
    state = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    table = "latents.table.weight"
    return {**state, table: state[table][trainer.training]}


def test_warm_up_then_thirty_joint_epochs_then_five_of_gaussians_alone(make: MakeTrainer) -> None:
    trainer = make()
    phases = []
    for epoch in range(80):
        trainer.progress.epoch = epoch
        phases.append(trainer.phase())
    runs = [(phase, len(list(group))) for phase, group in itertools.groupby(phases)]
    assert runs[:5] == [("warm-up", 3), ("joint", 30), ("gaussians", 5), ("joint", 30), ("gaussians", 5)]


@pytest.mark.parametrize(
    ("epochs", "last"), [(41, "joint"), (38, "joint"), (60, "joint"), (34, "joint"), (1, "warm-up")]
)
def test_no_training_ends_with_the_gaussians_alone(make: MakeTrainer, epochs: int, last: str) -> None:
    trainer = make(epochs=epochs)
    trainer.progress.epoch = epochs - 1
    assert trainer.phase() == last


def test_warm_up_moves_gaussians_and_leaves_the_networks_alone(make: MakeTrainer) -> None:
    trainer = make(warm_up_epochs=1, refresh_every=1, refresh_epochs=1, epochs=6)
    seen = []
    for _ in range(3):
        before, phase = learned(trainer), trainer.phase()
        trainer.run_epoch(silent)
        after = learned(trainer)
        changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
        seen.append((phase, changed))
    everything = {"density", "deformation", "latents"}
    assert seen == [("warm-up", {"density"}), ("joint", everything), ("gaussians", {"density"})]


def test_every_particle_in_training_is_learned_and_none_that_is_held_out(make: MakeTrainer, data: HalfSet) -> None:
    trainer, blind = make(epochs=2, warm_up_epochs=0), make(epochs=2, warm_up_epochs=0)
    before = learned(trainer)["latents.table.weight"]
    blind.data = blind.likelihood.data = blind.contrasts.data = copy(data)
    blind.data.images = data.images.clone()
    blind.data.images[blind.likelihood.held_out] = 0.0
    trainer.run_epoch(silent)
    blind.run_epoch(silent)
    after = learned(trainer)
    assert (after["latents.table.weight"] != before).any(dim=1).all() and len(before) < len(data)
    assert all(torch.equal(value, learned(blind)[name]) for name, value in after.items())


def test_every_particle_is_seen_once_in_an_epoch_in_a_new_order(data: HalfSet) -> None:
    index = torch.arange(3, len(data))
    orders = []
    for epoch in (1, 2, 1):
        batches = list(data.batches(index, 16, 4, (0, 1, epoch)))
        orders.append(torch.cat([batch.index for batch in batches]))
        assert torch.equal(orders[-1].sort().values, index)
        assert batches[0].noise.shape == (16, 4)
    assert not torch.equal(orders[0], orders[1]) and torch.equal(orders[0], orders[2])


def test_keyed_generator_depends_on_every_part_of_its_key() -> None:
    keys = [(5, 1, 7, 2), (6, 1, 7, 2), (5, 2, 7, 2), (5, 1, 8, 2), (5, 1, 7, 3), (1, 5, 7, 2), (5, 1, 7)]
    draws = [tuple(torch.randn(4, generator=keyed_generator(*key)).tolist()) for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws[0] == tuple(torch.randn(4, generator=keyed_generator(*keys[0])).tolist())


def gradient_norm(value: Tensor, model: FlexModel) -> float:
    gradients = torch.autograd.grad(value, list(model.deformation.parameters()), retain_graph=True)
    return float(torch.cat([gradient.flatten() for gradient in gradients]).double().norm())


def test_lambda_gives_the_prior_its_share_of_the_gradient(make: MakeTrainer) -> None:
    trainer = make()
    model, graph = trainer.model, trainer.graph
    stir(model)
    batches = [trainer.data.batch(part, noise=torch.zeros(len(part), 6)) for part in torch.arange(32).split(16)]
    weights = noise_weights(torch.ones(trainer.data.grid.n_shells), trainer.data.grid)

    def strength(ratio: float, strongest: float = 1e9) -> float:
        return balance(model, batches, weights, graph, ratio=ratio, strongest=strongest, bonded=False)

    def norms(batch: Batch) -> tuple[float, float]:
        points = model.deformed(model.latents.posterior(batch).mean.detach())
        data = data_loss(model.render(points, batch.pose, batch.ctf), batch.coefficients, weights).mean()
        return gradient_norm(data, model), gradient_norm(geometry_loss(points, graph, bonded=False).mean(), model)

    data_norm, prior_norm = (sum(values) for values in zip(*map(norms, batches), strict=True))
    assert strength(0.9) * prior_norm == pytest.approx(0.9 * data_norm, rel=1e-3)
    assert strength(0.3) == pytest.approx(strength(0.9) / 3.0, rel=1e-5)
    assert strength(0.9, strongest=strength(0.9) / 2.0) == pytest.approx(strength(0.9) / 2.0)


def test_where_the_prior_has_no_gradient_yet_lambda_is_the_molecules_own(make: MakeTrainer) -> None:
    trainer = make(warm_up_epochs=0)
    own = weight_of(train.FIRST, trainer.matter, trainer.graph)
    trainer.run_epoch(silent)
    assert trainer.progress.strength == pytest.approx(own)


def test_what_the_user_asks_for_is_not_lost_in_the_cap(make: MakeTrainer) -> None:
    strengths = []
    for ratio in (0.3, 0.9, 3.0):
        trainer = make(warm_up_epochs=0, regularisation=ratio)
        trainer.run_epoch(silent)
        strengths.append(trainer.progress.strength)
    assert strengths == pytest.approx([0.3 / 0.9 * strengths[1], strengths[1], 3.0 / 0.9 * strengths[1]])


def test_closest_conformation_is_the_mean_of_those_that_move_least() -> None:
    reference = torch.randn(50, 3)
    sizes = torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0])
    direction = torch.nn.functional.normalize(torch.randn(50, 3), dim=1)
    destinations = reference + sizes[:, None, None] * direction
    assert torch.allclose(closest_conformation(destinations, reference, 3), reference + 2.0 * direction, atol=1e-5)
    assert torch.allclose(closest_conformation(destinations, reference, 99), reference + 3.0 * direction, atol=1e-5)


def test_the_reference_is_replaced_by_the_closest_of_all_predictions(
    make: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = {"warm_up_epochs": 0, "refresh_epochs": 0, "replace_every": 22, "epochs": 9}
    trainer = make(**schedule, pooled_particles=3, position_rate=0.0)
    model, calls, returned = trainer.model, [], []

    def watched(predictions: Tensor, reference: Tensor, pooled: int) -> Tensor:
        table = model.latents.get_parameter("table.weight")[trainer.training]
        expected = model.deformed(table[:, : trainer.config.latent_dim])
        assert torch.allclose(predictions.sum(dim=0), expected.sum(dim=0), atol=0.02)
        assert torch.equal(reference, model.density.points())
        calls.append((trainer.progress.joint_epochs, pooled))
        returned.append(closest_conformation(predictions, reference, pooled))
        return returned[-1]

    monkeypatch.setattr(train, "closest_conformation", watched)
    stir(model)
    for _ in range(9):
        trainer.run_epoch(silent)
        if returned:
            assert torch.equal(model.density.points(), returned[-1])
    # Every 22 of 100 epochs is every other of nine. In the last two nothing is replaced: the Gaussians settle.
    assert calls == [(2, 3), (4, 3), (6, 3)]
    assert not torch.equal(returned[0], returned[1])


def test_learning_rates_fall_to_a_tenth_over_the_last_third(make: MakeTrainer) -> None:
    trainer = make(epochs=12, warm_up_epochs=1)
    groups = [group for optimiser in trainer.optimisers.values() for group in optimiser.param_groups]
    rates = []
    while not trainer.finished:
        trainer.run_epoch(silent)
        rates.append([group["lr"] / group["full_rate"] for group in groups])
    table = torch.tensor(rates)
    assert torch.equal(table[:9], torch.ones(9, len(groups)))
    assert (table.diff(dim=0)[8:] < 0).all()
    assert (table[-1] >= 0.1).all() and (table[-1] <= 0.3).all()
    full = {name: [group["full_rate"] for group in o.param_groups] for name, o in trainer.optimisers.items()}
    config = trainer.config
    assert full == {
        "gaussians": [config.position_rate, config.shape_rate],
        "decoder": [config.decoder_rate],
        "latents": [config.latent_rate],
    }


def test_training_stops_when_the_loss_has_risen_too_often(make: MakeTrainer) -> None:
    trainer = make(epochs=100, patience=2, warm_up_epochs=0)
    for previous in (0.0, float("inf"), 0.0):
        assert not trainer.finished
        trainer.progress.last_loss = previous
        trainer.run_epoch(silent)
    assert trainer.finished and trainer.progress.rises == 2


def test_noise_is_learned_from_what_the_model_leaves(make: MakeTrainer) -> None:
    trainer = make(epochs=3)
    trainer.run_epoch(silent)
    inside = trainer.progress.noise_power[1:-1]
    assert bool((inside > 0.2).all() and (inside < 3.0).all())
    assert not torch.equal(inside, torch.ones_like(inside))
