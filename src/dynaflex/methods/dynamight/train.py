"""The training of one half: warm-up, joint epochs, consensus refresh, and nothing hidden.

Every random number is a function of (seed, half, epoch, particle), so a run that was stopped and resumed is the run
that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import log_normaliser, noise_weights
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.losses.graph import Graph, fixed_graph, neighbour_graph
from dynaflex.methods.dynamight.balance import balance, geometry_loss
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.methods.dynamight.consensus import closest_conformation
from dynaflex.methods.dynamight.schedule import Schedule
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.training.contrast import Contrasts
from dynaflex.training.likelihood import Likelihood, some_of
from dynaflex.training.method import EveryBatch, Report
from dynaflex.training.scale import matching_scale
from dynaflex.training.steps import Contribution, Progress, Steps

_BALANCE_BATCHES = 4
_STREAM_EPOCH, _STREAM_BALANCE, _STREAM_POOL = 1, 2, 3


@dataclass
class DynamightProgress(Progress):
    """What the schedule of DynaMight has to remember."""

    joint_epochs: int = 0
    strength: float = 0.0
    rises: int = 0
    last_loss: float = float("inf")
    rest: Tensor = field(default_factory=lambda: torch.zeros(0, 3))
    """The reference ``(n 3)`` whose neighbours make the graph: as it stood when the epoch began."""


class HalfTrainer:
    """Trains the model of one half-set, one epoch at a time."""

    def __init__(
        self,
        model: FlexModel,
        data: HalfSet,
        training: Tensor,
        config: DynamightConfig,
        *,
        bonds: Tensor | None = None,
        start: Callable[[], Tensor] | None = None,
    ) -> None:
        """``start()`` gives the first coordinates ``(p k)`` of the latents to begin with."""
        self.start = start
        self.model = model
        self.data = data
        self.training = training
        self.config = config
        self.bonds = bonds
        self.epochs = config.planned_epochs(-(-len(training) // config.batch_size))
        self.schedule = Schedule(config, self.epochs)
        self.progress = DynamightProgress(noise_power=torch.ones(data.grid.n_shells, device=data.device))
        self.poses = PoseRefinement(len(data)).to(data.device) if config.refine_poses else None
        self.optimisers = build_optimisers(model, self.poses, config)
        self.steps = Steps(data, self.progress, config.batch_size)
        self.contrasts = Contrasts(data, training, self.progress)
        outside = torch.ones(len(data), dtype=torch.bool)
        outside[training] = False
        held_out = some_of(outside.nonzero()[:, 0], len(training))
        self.likelihood = Likelihood(model, data, training, held_out, self.poses)
        self.renew_graph()

    @property
    def finished(self) -> bool:
        """True after the last epoch, or when the loss has risen too often."""
        return self.progress.epoch >= self.epochs or self.progress.rises >= self.schedule.patience

    def restored(self) -> None:
        """Give the images their contrasts back, and find the neighbours in the reference of the epoch's beginning."""
        self.contrasts.restored()
        self._find_neighbours()

    def phase(self) -> str:
        """What the next epoch trains: ``warm-up`` and ``gaussians`` leave the networks alone."""
        return self.schedule.phase(self.progress.epoch)

    def run_epoch(self, report: Report, every_batch: EveryBatch = lambda _done, _total: None) -> None:
        """One sweep over the training particles, then the bookkeeping that the next one needs."""
        started, phase, state = time.monotonic(), self.phase(), self.progress
        self._set_rates()
        weights = noise_weights(state.noise_power, self.data.grid)
        if state.step == 0:
            self._begin_epoch(phase, weights)
        total = -(-len(self.training) // self.config.batch_size)
        accumulate = partial(self._accumulate, weights=weights, phase=phase)
        active = [self.optimisers[name] for name in self.active(phase)]
        for batch in self._batches(_STREAM_EPOCH, skip=state.step):
            for part in self.steps.take([batch], accumulate, active):
                state.add(len(part.index), len(self.training), part.figures, part.left)
            state.step += 1
            every_batch(state.step, total)
        figures = state.figures(self.data.grid) | self.contrasts.settle()
        if phase != "warm-up":
            self.likelihood.find_held_out(weights, self.config.latent_prior)
        figures |= self.likelihood.figures(state)
        self._finish_epoch(phase)
        report({
            "half": self.data.half, "epoch": state.epoch, "phase": phase, "steps": total, **figures,
            "lambda": state.strength, "seconds": time.monotonic() - started,
        })  # fmt: skip

    def _begin_epoch(self, phase: str, weights: Tensor) -> None:
        if self.progress.epoch == 0:
            self._match_scale()
            self.contrasts.begin(self.model)
            if self.start is not None and isinstance(self.model.latents, LatentTable):
                self.model.latents.set_mean(torch.arange(len(self.data)), self.start().to(self.data.device))
        if phase == "joint":
            self.progress.strength = self._balance(weights)
        self.progress.begin_epoch()

    def _accumulate(self, batch: Batch, share: float, *, weights: Tensor, phase: str) -> Contribution:
        """Add the share of a batch to the gradient of all that the phase trains."""
        model, moving = self.model, phase != "warm-up"
        points = model.density.points()[None].expand(len(batch.index), -1, -1)
        pose, geometry, kl = batch.pose, torch.zeros(()), torch.zeros(())
        if moving:
            posterior = model.latents.posterior(batch)
            points = model.deformed(posterior.sample(batch.noise))
            geometry = geometry_loss(points, self.graph, bonded=self.bonds is not None).mean()
            kl = posterior.divergence().mean()
            if self.poses is not None:
                pose = self.poses.corrected(batch.index, pose)
                kl = kl + self.poses.penalty(batch.index).mean()
        prediction = model.render(points, pose, batch.ctf)
        data = data_loss(prediction, batch.coefficients, weights).mean()
        (share * (data + self.progress.strength * geometry + kl)).backward()
        with torch.no_grad():
            moved = (points - model.density.points()).square().sum(-1).mean().sqrt()
            left = self.data.power_left(prediction, batch)
            self.contrasts.seen(batch, prediction, weights)
        figures = {
            "data_loss": data.item(), "geometry": geometry.item(), "kl": kl.item(), "rms_displacement": moved.item(),
        }  # fmt: skip
        return Contribution(batch.index, figures, left)

    def _finish_epoch(self, phase: str) -> None:
        state = self.progress
        # Up to a constant, the negative log-likelihood under the noise that is likeliest given what the epoch left.
        loss = float(log_normaliser(state.learn_noise(len(self.training)), self.data.grid))
        state.epoch += 1
        if phase == "joint":
            state.rises += int(loss > state.last_loss)
            state.last_loss = loss
            state.joint_epochs += 1
            if self.schedule.replaces(state.joint_epochs, state.epoch):
                self._replace_reference()
        self.renew_graph()
        state.begin_epoch()

    def active(self, phase: str) -> tuple[str, ...]:
        """Which optimisers step in a phase."""
        return tuple(self.optimisers) if phase == "joint" else ("gaussians",)

    def renew_graph(self) -> None:
        """Find the neighbours of the reference as it stands now; bonds stay, and are at rest where it stands."""
        self.progress.rest = self.model.density.points().detach().clone()
        self._find_neighbours()

    def _find_neighbours(self) -> None:
        points = self.progress.rest
        self.graph: Graph = (
            neighbour_graph(points, self.config.graph_degree) if self.bonds is None else fixed_graph(points, self.bonds)
        )

    def _batches(self, stream: int, skip: int = 0) -> Iterator[Batch]:
        key = (self.config.seed, self.data.half, self.progress.epoch, stream)
        return self.data.batches(self.training, self.config.batch_size, self.config.latent_dim, key, skip)

    def _balance(self, weights: Tensor) -> float:
        batches = (batch for batch, _ in zip(self._batches(_STREAM_BALANCE), range(_BALANCE_BATCHES), strict=False))
        return balance(
            self.model,
            batches,
            weights,
            self.graph,
            ratio=self.config.regularisation,
            strongest=self.config.ceiling,
            bonded=self.bonds is not None,
        )

    def _match_scale(self) -> None:
        """Give the Gaussians the amplitude at which their images fit the particles best."""
        batches = (batch for batch, _ in zip(self._batches(_STREAM_POOL), range(32), strict=False))
        scale = matching_scale(self.model, self.data, batches)
        with torch.no_grad():
            self.model.density.get_parameter("log_amplitude").add_(math.log(scale))

    def _replace_reference(self) -> None:
        """Move the reference to the mean of predictions close to it."""
        key = (self.config.seed, self.data.half, self.progress.epoch, _STREAM_POOL)
        batches = self.data.batches(self.training, 64, self.config.latent_dim, key)
        with torch.no_grad():
            chosen = torch.cat([
                self.model.deformed(self.model.latents.posterior(batch).mean)
                for batch, _ in zip(batches, range(16), strict=False)
            ])  # fmt: skip
            reference = self.model.density.points()
            pooled = min(self.config.pooled_particles, max(1, len(chosen) // 10))
            reference.copy_(closest_conformation(chosen, reference, pooled))

    def _set_rates(self) -> None:
        """Rates fall linearly to a tenth over the last third of the planned epochs."""
        left = (self.epochs - self.progress.epoch) / max(self.epochs / 3.0, 1.0)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group["full_rate"] * max(0.1, min(1.0, left)) * self.progress.caution


def build_optimisers(
    model: FlexModel, poses: PoseRefinement | None, config: DynamightConfig
) -> dict[str, torch.optim.Optimizer]:
    """Adam for the Gaussians, the decoder and the latents; sparse for tables, whose other rows must not drift."""
    density = model.density
    gaussians = [
        {"params": [density.positions], "full_rate": config.position_rate},
        {"params": [density.log_amplitude, density.log_width, density.logits], "full_rate": config.shape_rate},
    ]
    latents: torch.optim.Optimizer
    if isinstance(model.latents, LatentTable):
        latents = torch.optim.SparseAdam(
            [{"params": list(model.latents.parameters()), "full_rate": config.latent_rate}]
        )
    else:
        latents = torch.optim.Adam([{"params": list(model.latents.parameters()), "full_rate": config.decoder_rate}])
    corrections: dict[str, torch.optim.Optimizer] = {}
    if poses is not None:
        corrections["poses"] = torch.optim.SparseAdam(
            [{"params": list(poses.parameters()), "full_rate": config.pose_rate}]
        )
    return corrections | {
        "gaussians": torch.optim.Adam(gaussians),
        "decoder": torch.optim.Adam(
            [{"params": list(model.deformation.parameters()), "full_rate": config.decoder_rate}]
        ),
        "latents": latents,
    }
