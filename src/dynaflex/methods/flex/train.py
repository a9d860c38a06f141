"""The training of one half: flow and latents against a fixed map, then map and flow in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dynaflex.imaging.batch import Batch, halved
from dynaflex.inference.descent import descend
from dynaflex.inference.newton import infer
from dynaflex.inference.search import best_start
from dynaflex.kernels import RigidityTable
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.sigma_points import sigma_points
from dynaflex.losses.data import data_loss
from dynaflex.losses.rigidity import amounts, rigidity, stiffness, strains
from dynaflex.methods.flex import how_long
from dynaflex.methods.flex.asking import AskingTrainer, FlexProgress
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.training import how_stiff
from dynaflex.training.steps import Contribution

_LADDER = (0.3, 0.1)
_WIDE = (0.5,)
_AT_ONCE = 64
_ELSEWHERE = 4
"""Conformations all over the prior where a latent is looked for too, others in every epoch, once the motion is known:
some that came to a wrong minimum before stay there otherwise, and the flow learns from them."""
_SETTLED = 0.4
"""The share of the epochs after which it is known where the molecule gives."""
_SHOWN = 32
"""Updates by which a stiffness shows what it does."""
_EPOCHS_OF_THE_MAP = 2
"""Before the first trial: until then the flow also makes up for what the map lacks, and even a rigid molecule would
surely be softer."""


class FlexTrainer(AskingTrainer):
    """Trains the flow by gradients, and finds the latents of every batch anew."""

    motion = "flow"

    def __init__(
        self,
        model: FlexModel,
        data: HalfSet,
        training: Tensor,
        config: FlexConfig,
        start: Callable[[], Tensor] | None = None,
    ) -> None:
        """``start()`` gives the latents ``(p k)`` to begin with; they stand still as long as the map does."""
        batches = -(-data.count(training) // config.batch_size)
        epochs = config.planned_epochs(batches)
        progress = FlexProgress(noise_power=torch.ones(data.grid.n_shells, device=data.device))
        super().__init__(model, data, training, config, epochs, progress)
        self.start = start
        self.trials = trials(config.fixed_map_epochs, epochs)
        self.trial_updates = self.trial_length(batches)
        few = len(data.particle[self.held_out].unique()) < how_stiff.FEWEST
        if few:
            self.trials = set()
        self.cuts = config.cut == "auto" and not few
        if self.cuts:
            self.retaken = {self.kind(): 2 * config.fixed_map_epochs}
        self.as_planned = few or config.epochs is not None
        progress.rigidity = how_stiff.FIRST if config.rigidity is None else config.rigidity
        self.rigidity_table = self._rigidity_table()
        self.elsewhere = self._drawn_elsewhere()

    def trial_length(self, batches: int) -> int:
        """How many updates a rigidity is tried by, in a training whose epoch of the flow has so many ``batches``."""
        return how_stiff.updates(self.planned // 2 * batches, _SHOWN)

    def _rigidity_table(self) -> RigidityTable:
        """That of the mesh, as stiff as the strain of its cells makes it once that is known."""
        mesh, strain = self.moves.mesh, self.progress.strain
        weights = amounts(mesh)
        weights = stiffness(strain, weights) if len(strain) else weights
        return RigidityTable(mesh.vertices, mesh.cells, weights).to(self.data.device)

    def _drawn_elsewhere(self) -> Tensor:
        """Where latents are looked for in this epoch, ``(m k)``."""
        after = _ELSEWHERE * self.progress.epoch
        return self.prior.drawn(_ELSEWHERE, self.config.latent_dim, after).to(self.data.device)

    def _begin(self) -> None:
        if self.start is not None:
            self.table.set_mean(torch.arange(len(self.data)), self.start().to(self.data.device))

    def _begin_motion(self) -> None:
        """Cells are as stiff as they were found, and the flow's rate falls geometrically to its last value."""
        self.rigidity_table = self._rigidity_table()
        # Once an epoch, for which no update waits.
        self.elsewhere = self._drawn_elsewhere()
        done = min(self.progress.epoch / max(self.planned - 1, 1), 1.0)
        rate = self.config.flow_rate * (self.config.last_flow_rate / self.config.flow_rate) ** done
        for group in self.optimisers["flow"].param_groups:
            group["lr"] = rate * self.progress.caution
        if self.progress.step == 0:
            self._ask()

    def _begin_map(self) -> None:
        """What particles have in common now is for the map to show."""
        self.flow.settle(sigma_points(self._some_latents()))

    def _end_epoch(self) -> None:
        """Add a stretch where the plan ends and particles held out still gain."""
        state, stretch = self.progress, how_long.stretch(self.planned)
        if self.as_planned or state.epoch not in (self.planned - stretch, self.epochs):
            return
        constant = self.data.over_series(self.data.log_normalisers(state.noise_power, self.held_out), self.held_out)
        constant = self.data.per_particle(constant, self.held_out)
        evidence = self._evidence(self.weights()) - constant.float()
        more = state.added < how_long.MOST * stretch and len(state.evidence) > 0
        if more and how_long.still_gains(state.evidence, evidence):
            state.added += stretch
        state.evidence = evidence

    def _accumulate(self, batch: Batch, share: float, *, weights: Tensor) -> Contribution:
        """Find the latents of a micro-batch, and add its share to the gradient of the flow. Implements [3DF 7].

        The flow is judged over the posterior of the latents, by one draw, rather than at its mean. A coordinate that
        the images do not determine is drawn all over its prior, and a flow that moved anything along it would pay.
        """
        found, series = self._found(batch, weights), batch.series
        destinations = self.model.deformed(series.one(found.sample(batch.noise)))
        prediction = self.model.render(series.each(destinations), batch.pose, batch.ctf)
        data = data_loss(prediction, batch.coefficients, weights).mean()
        # Of what particles have in common only strain keeps hold.
        drifted = self.flow.vertex_displacement(torch.zeros_like(found.mean[:1]))
        rigid = rigidity(destinations - drifted, self.rigidity_table).mean()
        # A particle is strained once, however many images show it.
        strain = self.progress.rigidity * batch.particles / len(batch) * rigid
        (share * (data + strain)).backward()
        terms = {"data_loss": data, "geometry": rigid, "kl": found.divergence().mean()}
        return self._contribution(batch, weights, found.mean, destinations, prediction, terms)

    def _end_motion(self) -> dict[str, Any]:
        self._settle_strain()
        if self.flow.still.known:
            self._find_still()
        asked = {"tried": self.progress.tried, "whole": self.progress.whole}
        told: dict[str, Any] = {name: answers for name, answers in asked.items() if answers}
        if self.cuts and self.progress.epoch == self.config.fixed_map_epochs - 1:
            told |= self._choose_mesh(self.weights())
        segments = int(self.flow.mesh.segment.max()) + 1
        return {
            "lambda": self.progress.rigidity, "coordinates": int(self.flow.active.sum()), "segments": segments,
            "still": self.flow.still.known, **told,
        }  # fmt: skip

    @property
    def _settled(self) -> bool:
        """Whether it is known where the molecule gives."""
        return self.progress.epoch >= _SETTLED * self.epochs

    @torch.no_grad()
    def _settle_strain(self) -> None:
        """Find out where the molecule gives, once that is known."""
        if self._settled:
            strained = lambda latents: strains(self.model.deformed(latents), self.flow.mesh)  # noqa: E731
            self.progress.strain = halved(strained, self._some_latents()).mean(dim=0)

    def _infer(self, batch: Batch, weights: Tensor) -> Tensor:
        return self._found(batch, weights).mean

    def _found(self, batch: Batch, weights: Tensor) -> Posterior:
        """The latents ``(b k)`` of a batch under the present model, from where they stood, and how wide they are."""
        here = self.table.mean_of(batch.index)
        if self.progress.epoch < self.config.fixed_map_epochs:
            if self.start is not None:
                return infer(self.model, batch, weights, here, 0, self.prior)
            # From zero most latents are far off, where Newton's steps are short.
            here = descend(self.model, batch, weights, here, _WIDE, self.prior).mean
        if self.config.inference == "descent":
            return descend(self.model, batch, weights, here, _LADDER, self.prior)
        if not self._settled:
            return infer(self.model, batch, weights, here, 1, self.prior)
        start = best_start(self.model, batch, weights, self.flow.effective(self.elsewhere), self.prior, here)
        return infer(self.model, batch, weights, start, 1, self.prior)


def trials(fixed_map_epochs: int, epochs: int) -> set[int]:
    """The epochs that begin with a trial of other stiffnesses. Map and flow take turns after ``fixed_map_epochs``."""
    first = fixed_map_epochs + 2 * _EPOCHS_OF_THE_MAP - 1
    return how_stiff.sittings(epochs, lambda epoch: epoch >= first and (epoch - first) % 2 == 0)
