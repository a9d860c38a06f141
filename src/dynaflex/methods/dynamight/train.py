"""The training of one half: warm-up, joint epochs, consensus refresh, and nothing hidden.

Every random number is a function of (seed, half, epoch, particle), so a run that was stopped and resumed is the run
that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice

import torch

from dynaflex import spent
from dynaflex.deformation.confined import Confined
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.losses.graph import Graph, cut, fixed_graph, neighbour_graph
from dynaflex.losses.isometry import weight_of
from dynaflex.methods.dynamight import rates
from dynaflex.methods.dynamight.asking import STREAM_POOL, AskingTrainer, DynamightProgress
from dynaflex.methods.dynamight.balance import balance, geometry_loss
from dynaflex.methods.dynamight.config import PAPERS_RATIO, DynamightConfig
from dynaflex.methods.dynamight.consensus import closest_conformation
from dynaflex.methods.dynamight.schedule import Schedule
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.symmetry.asymmetric_unit import OF_UNIT
from dynaflex.training import how_stiff
from dynaflex.training.contrast import Contrasts
from dynaflex.training.likelihood import MOST, Likelihood, some_of
from dynaflex.training.method import EveryBatch, Report
from dynaflex.training.scale import matching_scale
from dynaflex.training.steps import Contribution, Diverged, Steps, told
from dynaflex.training.undone import undone

FIRST = how_stiff.FIRST / 16.0
"""The rigidity to begin with, in nats per nm³ of matter and unit of squared strain. What is held too hard comes to
rest, latents with it, and then no image can tell that it should have been softer; what is too soft they can."""
_BALANCE_BATCHES = 4
_SHOWN = 64
"""Updates by which a lambda shows what it does."""
_AT_ONCE = 64
_STREAM_EPOCH, _STREAM_BALANCE = 1, 2
_POOLED = 16
"""Batches of 64 particles that the reference is pooled from."""


class HalfTrainer(AskingTrainer):
    """Trains the model of one half-set, one epoch at a time."""

    def __init__(
        self,
        model: FlexModel,
        data: HalfSet,
        training: Tensor,
        config: DynamightConfig,
        *,
        matter: float,
        bonds: Tensor | None = None,
        start: Callable[[], Tensor] | None = None,
    ) -> None:
        """There are ``matter`` Å³ of the molecule. ``start()`` gives the first coordinates ``(p k)`` of the latents to
        begin with."""
        self.matter, self.start = matter, start
        self.model = model
        self.data = data
        self.training = training
        self.config = config
        self.bonds = bonds
        batches = -(-data.count(training) // config.batch_size)
        self.epochs = config.planned_epochs(batches)
        self.schedule = Schedule(config, self.epochs)
        self.progress = DynamightProgress(noise_power=torch.ones(data.grid.n_shells, device=data.device))
        self.poses = PoseRefinement(len(data)).to(data.device) if config.refine_poses else None
        self.optimisers = rates.optimisers_of(model, self.poses, config)
        self.steps = Steps(data, self.progress, config.batch_size)
        self.contrasts = Contrasts(data, training, self.progress)
        held_out = data.without(training)
        some = some_of(held_out, data.count(training), data.series(held_out))
        self.likelihood = Likelihood(model, data, training, some, self.poses)
        self.held_out = data.some(held_out, MOST)
        self.trial_updates = self.trial_length(batches)
        enough = len(data.particle[held_out].unique()) >= how_stiff.FEWEST
        asked = config.regularisation is None and enough
        joint = lambda epoch: self.schedule.phase(epoch) == "joint"  # noqa: E731
        self.trials = how_stiff.sittings(self.epochs, joint) if asked else set()
        self.retaken: Mapping[str, int] = {}
        self.renew_graph()

    @property
    def finished(self) -> bool:
        """True after the last epoch, or when the loss has risen too often."""
        return self.progress.epoch >= self.epochs or self.progress.rises >= self.schedule.patience

    def expect(self, state: Mapping[str, Tensor]) -> None:
        """Nothing: the shapes of a model never change."""

    def restored(self) -> None:
        """Give the images their contrasts and their noise back, and find the neighbours in the reference of the epoch's
        beginning."""
        self.contrasts.restored()
        self._find_neighbours()

    def phase(self) -> str:
        """What the next epoch trains: ``warm-up`` and ``gaussians`` leave the networks alone."""
        return self.schedule.phase(self.progress.epoch)

    kind = phase

    def trial_length(self, batches: int) -> int:
        """How many updates a lambda is tried by, in a training whose epoch has so many ``batches``."""
        return how_stiff.updates(self.epochs * batches, _SHOWN)

    def run_epoch(self, report: Report, every_batch: EveryBatch = lambda _done, _total: None) -> None:
        """One sweep over the training particles, then the bookkeeping that the next one needs."""
        started, phase, state = time.monotonic(), self.phase(), self.progress
        rates.fall(self.optimisers, (self.epochs - self.progress.epoch) / self.epochs, self.progress.caution)
        weights = noise_weights(state.noise_power, self.data.grid)
        if state.step == 0:
            self._begin_epoch(phase, weights)
        total = -(-self.data.count(self.training) // self.config.batch_size)
        accumulate = partial(self._accumulate, weights=weights, phase=phase)
        active = [self.optimisers[name] for name in self.active(phase)]
        for batch in self._batches(_STREAM_EPOCH, skip=state.step):
            for part in self.steps.take([batch], accumulate, active):
                state.add(len(part.index), len(self.training), part.figures, part.left)
            state.step += 1
            every_batch(state.step, total)
        figures = state.figures(self.data, self.training) | self.contrasts.settle()
        if phase != "warm-up":
            self.likelihood.find_held_out(weights, self.config.latent_prior)
        figures |= self.likelihood.figures(state)
        self._finish_epoch(phase)
        report({
            "half": self.data.half, "epoch": state.epoch, "phase": phase, "steps": total, **figures,
            "lambda": state.strength, **self._told(),
            "seconds": time.monotonic() - started,
        })  # fmt: skip

    def _begin_epoch(self, phase: str, weights: Tensor) -> None:
        if self.progress.epoch == 0:
            self._begin()
        self.progress.tried, self.progress.whole = [], []
        if phase == "joint":
            self._weigh_geometry(weights)
        self.progress.begin_epoch()

    @spent.on("first latents")
    def _begin(self) -> None:
        self._match_scale()
        self.contrasts.begin(self.model)
        if self.start is not None and isinstance(self.model.latents, LatentTable):
            self.model.latents.set_mean(torch.arange(len(self.data)), self.start().to(self.data.device))

    def _accumulate(self, batch: Batch, share: float, *, weights: Tensor, phase: str) -> Contribution:
        """Add the share of a batch to the gradient of all that the phase trains."""
        model, moving, series = self.model, phase != "warm-up", batch.series
        points = model.density.points()[None].expand(batch.particles, -1, -1)
        pose, geometry, kl = batch.pose, *weights.new_zeros(2)
        if moving:
            posterior = model.latents.posterior(batch)
            points = model.deformed(series.one(posterior.sample(batch.noise)))
            geometry = geometry_loss(points, self.graph, bonded=self.bonds is not None).mean()
            kl = series.one(posterior.divergence()).mean()
            if self.poses is not None:
                pose = self.poses.corrected(batch.index, pose)
                kl = kl + self.poses.penalty(batch.index).mean()
        prediction = model.render(series.each(points), pose, batch.ctf)
        data = data_loss(prediction, batch.coefficients, weights).mean()
        # A particle has one prior, however many images show it.
        (share * (data + batch.particles / len(batch) * (self.progress.strength * geometry + kl))).backward()
        with torch.no_grad():
            moved = (points - model.density.points()).square().sum(-1).mean().sqrt()
            left = self.data.power_left(prediction, batch)
            self.contrasts.seen(batch, prediction, weights)
        terms = {"data_loss": data, "geometry": geometry, "kl": kl, "rms_displacement": moved}
        return Contribution(batch.index, told(terms), left)

    def _finish_epoch(self, phase: str) -> None:
        state = self.progress
        loss = state.learn_noise(self.data, self.training)
        state.epoch += 1
        if phase == "joint":
            state.rises += int(loss > state.last_loss)
            state.last_loss = loss
            state.joint_epochs += 1
            if self.schedule.replaces(state.joint_epochs, state.epoch):
                self._replace_reference()
            if (motion := self._motion()) is not None and motion.still.known:
                self._find_still(motion)
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
        moves = self.model.deformation
        if isinstance(moves, Confined):
            self.graph = cut(self.graph, moves.weight(points) > OF_UNIT)

    def _batches(self, stream: int, skip: int = 0) -> Iterator[Batch]:
        key = (self.config.seed, self.data.half, self.progress.epoch, stream)
        return self.data.batches(
            self.training, self.config.batch_size, self.config.latent_dim, key, skip, self.progress.quarantine
        )

    def _weigh_geometry(self, weights: Tensor) -> None:
        """Balance geometry and images, and ask how stiff the molecule is."""
        balanced = self._balance(weights)
        self.progress.strength = balanced * self.progress.stiffer
        self._ask(self.progress.strength, balanced, weights)

    def _balance(self, weights: Tensor) -> float:
        ratio = self.config.ratio
        return balance(
            self.model,
            islice(self._batches(_STREAM_BALANCE), _BALANCE_BATCHES),
            weights,
            self.graph,
            ratio=ratio,
            strongest=weight_of(FIRST, self.matter, self.graph) * ratio / PAPERS_RATIO,
            bonded=self.bonds is not None,
        )

    def _evidence_with(self, strength: float, weights: Tensor) -> Tensor:
        """That of the images held out ``(i)``, after some updates with another lambda, which are undone."""
        accumulate = partial(self._accumulate, weights=weights, phase="joint")
        with undone(self):
            self.progress.strength = strength
            try:
                for batch in islice(self._batches(_STREAM_EPOCH), self.trial_updates):
                    self.steps.take([batch], accumulate, self.optimisers.values())
            except Diverged:
                return torch.full((1,), torch.nan)
            return self._evidence(weights)

    def _match_scale(self) -> None:
        """Give the Gaussians the amplitude at which their images fit the particles best."""
        scale = matching_scale(self.model, self.data, islice(self._batches(STREAM_POOL), 32))
        with torch.no_grad():
            self.model.density.get_parameter("log_amplitude").add_(math.log(scale))

    @torch.no_grad()
    def _replace_reference(self) -> None:
        """Move the reference to the mean of predictions close to it."""
        chosen = torch.cat([self.model.deformed(z) for z in self._some_latents(_POOLED).split(64)])
        reference = self.model.density.points()
        pooled = min(self.config.pooled_particles, max(1, len(chosen) // 10))
        reference.copy_(closest_conformation(chosen, reference, pooled))
