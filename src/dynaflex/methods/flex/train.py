"""The training of one half: flow and latents against a fixed map, then map and flow in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch

from dynaflex import ranks, spent
from dynaflex.imaging.batch import Batch, halved
from dynaflex.inference import descend, energy_of, find_evidence, infer
from dynaflex.kernels import RigidityTable
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.prior import GAUSSIAN
from dynaflex.losses.data import data_loss
from dynaflex.losses.rigidity import amounts, rigidity, stiffness, strains
from dynaflex.methods.flex import how_long, how_many
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.cutting import TrainerOnMesh
from dynaflex.methods.meshed.folds import MapProgress, showing
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.training import how_stiff
from dynaflex.training.steps import Contribution, Diverged
from dynaflex.training.undone import undone

_LADDER = (0.3, 0.1)
_WIDE = (0.5,)
_AT_ONCE = 64
_SETTLED = 0.4
"""The share of the epochs after which it is known where the molecule gives."""
_SHOWN = 32
"""Updates by which a stiffness shows what it does."""
_EPOCHS_OF_THE_MAP = 2
"""Before the first trial: until then the flow also makes up for what the map lacks, and even a rigid molecule would
surely be softer."""


@dataclass
class FlexProgress(MapProgress):
    """``strain`` ``(t)`` is that of every cell at the end of the last epoch of the flow, empty before it is known.

    ``rigidity`` is lambda, and ``tried`` says of all that were tried before this epoch: rigidity, gain and error.
    ``evidence`` ``(p)`` is that of the particles held out when it was last asked whether to go on, empty before.
    """

    strain: Tensor = field(default_factory=lambda: torch.zeros(0))
    rigidity: float = how_stiff.FIRST
    tried: list[list[float | None]] = field(default_factory=list)
    evidence: Tensor = field(default_factory=lambda: torch.zeros(0))


class FlexTrainer(TrainerOnMesh):
    """Trains the flow by gradients, and finds the latents of every batch anew."""

    motion = "flow"
    progress: FlexProgress

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

    def trial_length(self, batches: int) -> int:
        """How many updates a rigidity is tried by, in a training whose epoch of the flow has so many ``batches``."""
        return how_stiff.updates(self.planned // 2 * batches, _SHOWN)

    def _rigidity_table(self) -> RigidityTable:
        """That of the mesh, as stiff as the strain of its cells makes it once that is known."""
        mesh, strain = self.moves.mesh, self.progress.strain
        weights = amounts(mesh)
        weights = stiffness(strain, weights) if len(strain) else weights
        return RigidityTable(mesh.vertices, mesh.cells, weights).to(self.data.device)

    def _begin(self) -> None:
        if self.start is not None:
            self.table.set_mean(torch.arange(len(self.data)), self.start().to(self.data.device))

    def _begin_motion(self) -> None:
        """Cells are as stiff as they were found, and the flow's rate falls geometrically to its last value."""
        self.rigidity_table = self._rigidity_table()
        done = min(self.progress.epoch / max(self.planned - 1, 1), 1.0)
        rate = self.config.flow_rate * (self.config.last_flow_rate / self.config.flow_rate) ** done
        for group in self.optimisers["flow"].param_groups:
            group["lr"] = rate * self.progress.caution
        if self.progress.step == 0:
            self._ask()

    def _ask(self) -> None:
        """In the epochs where they are asked, let images that nothing is learned from say how many coordinates the
        motion has, and how stiff the molecule is."""
        self.progress.tried = []
        if self.progress.epoch in self.trials:
            self._choose_coordinates(self.weights())
            if self.config.rigidity is None:
                self._choose_rigidity(self.weights())

    @spent.on("stiffness")
    def _choose_rigidity(self, weights: Tensor) -> None:
        """Go on with the stiffness that they are likelier with: the stiffest where a map at rest is as likely, and in
        the end as soft a one as they allow where it is not, beyond doubt."""
        state, evidence = self.progress, partial(self._evidence_with, weights=weights)
        rest = how_stiff.at_rest(self._evidence(weights), self._at_rest(weights))
        if rest.beyond_doubt_less_likely and state.epoch == max(self.trials):
            state.rigidity, tried = how_stiff.freed(state.rigidity, evidence)
        else:
            state.rigidity, tried = how_stiff.chosen(state.rigidity, how_stiff.FIRST, evidence)
        if rest.agrees:
            state.rigidity = tried[0].rigidity
        state.tried = how_stiff.told([rest, *tried])

    def _at_rest(self, weights: Tensor) -> Tensor:
        """The logarithm ``(i)`` of how likely a rigid map from the same particles makes the images held out."""

        def resting(index: Tensor) -> Tensor:
            return torch.zeros(len(index), self.config.latent_dim, device=self.data.device)

        def energies(batch: Batch) -> Tensor:
            return energy_of(self.model, batch, weights, resting(batch.index), self.prior)

        def likely(mine: Tensor) -> Tensor:
            parts = map(self._still, self.data.parts(mine, _AT_ONCE))
            return -torch.cat([energy for part in parts for energy in part.in_pieces(energies)])

        with showing(self.map, self._solved(resting).mean(dim=0)):
            return self.data.per_particle(ranks.rows(self.held_out, likely), self.held_out)

    def _choose_coordinates(self, weights: Tensor) -> None:
        """Turn the latents so that images tell most of the first, and give up the last ones that nobody needs."""
        flow, every = self.flow, torch.arange(len(self.data))
        if self.prior is GAUSSIAN:
            turn = how_many.by_information(ranks.rows(self.held_out, partial(self._covariances, weights=weights)))
            flow.turn(turn)
            self.table.set_mean(every, self.table.mean_of(every) @ turn.T)

        def evidence(active: Tensor) -> Tensor:
            flow.active.copy_(active)
            return self._evidence(weights)

        flow.active.copy_(how_many.needed(flow.active.clone(), evidence))
        self.table.set_mean(every, self.table.mean_of(every) * flow.active)

    def _covariances(self, index: Tensor, weights: Tensor) -> Tensor:
        """Those ``(b k k)`` of the latents of particles ``index`` ``(b)``."""
        found = lambda batch: self._found(batch, weights).covariances()  # noqa: E731
        parts = map(self._still, self.data.parts(index, _AT_ONCE))
        return torch.cat([covariances for part in parts for covariances in part.in_pieces(found)])

    def _evidence_with(self, rigidity: float, weights: Tensor) -> Tensor:
        """That of the images held out ``(i)``, after some updates with another rigidity, which are undone."""
        accumulate = partial(self._cross_fitted, weights=weights)
        with undone(self):
            self.progress.rigidity = rigidity
            try:
                for batches in islice(self._updates(skip=0), self.trial_updates):
                    self._update(batches, accumulate)
            except Diverged:
                return torch.full((1,), torch.nan)
            return self._evidence(weights)

    def _evidence(self, weights: Tensor) -> Tensor:
        """The logarithm ``(i)`` of how likely the model makes the images held out, whatever their latents are."""
        start = lambda batch: self.table.mean_of(batch.index) * self.flow.active  # noqa: E731

        def found(mine: Tensor) -> Tensor:
            batches = map(self._still, self.data.parts(mine, _AT_ONCE))
            return find_evidence(self.model, batches, start, weights, self.prior)

        return self.data.per_particle(ranks.rows(self.held_out, found), self.held_out)

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
        rigid = rigidity(destinations, self.rigidity_table).mean()
        # A particle is strained once, however many images show it.
        strain = self.progress.rigidity * batch.particles / len(batch) * rigid
        (share * (data + strain)).backward()
        terms = {"data_loss": data, "geometry": rigid, "kl": found.divergence().mean()}
        return self._contribution(batch, weights, found.mean, destinations, prediction, terms)

    def _end_motion(self) -> dict[str, Any]:
        self._settle_strain()
        tried: dict[str, Any] = {"tried": self.progress.tried} if self.progress.tried else {}
        if self.cuts and self.progress.epoch == self.config.fixed_map_epochs - 1:
            tried |= self._choose_mesh(self.weights())
        segments = int(self.flow.mesh.segment.max()) + 1
        return {
            "lambda": self.progress.rigidity, "coordinates": int(self.flow.active.sum()), "segments": segments, **tried,
        }  # fmt: skip

    @torch.no_grad()
    def _settle_strain(self) -> None:
        """Find out where the molecule gives, once that is known."""
        if self.progress.epoch >= _SETTLED * self.epochs:
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
        return infer(self.model, batch, weights, here, 1, self.prior)


def trials(fixed_map_epochs: int, epochs: int) -> set[int]:
    """The epochs that begin with a trial of other stiffnesses. Map and flow take turns after ``fixed_map_epochs``."""
    first = fixed_map_epochs + 2 * _EPOCHS_OF_THE_MAP - 1
    return how_stiff.sittings(epochs, lambda epoch: epoch >= first and (epoch - first) % 2 == 0)
