"""The training of one half: flow and latents against a fixed map, then map and flow in turn.

Every random number is a function of (seed, half, epoch, particle), so a run that was stopped and resumed is the run
that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import torch

from dynaflex.imaging.noise import log_normaliser, noise_weights
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.losses.data import data_loss
from dynaflex.model import Batch, FlexModel
from dynaflex.pipelines.flex.canonical import MapSolver
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.flex.marching import band_limit
from dynaflex.pipelines.flex.objective import FlowObjective
from dynaflex.pipelines.half import HalfSet
from dynaflex.pipelines.likelihood import MOST, Likelihood
from dynaflex.pipelines.method import EveryBatch, Report
from dynaflex.pipelines.scale import matching_scale
from dynaflex.pipelines.steps import Progress, Steps
from dynaflex.shapes import Tensor

_MICRO_BATCH = 64
_STREAM_EPOCH = 1


class FlexTrainer:
    """Trains the model of one half-set, one epoch at a time."""

    def __init__(
        self,
        model: FlexModel,
        data: HalfSet,
        training: Tensor,
        config: FlexConfig,
        start: Callable[[], Tensor] | None = None,
    ) -> None:
        """``start()`` gives the latents ``(p k)`` to begin with; they stand still as long as the map does."""
        self.model = model
        self.start = start
        self.data = data
        self.training = training
        self.config = config
        self.epochs = config.planned_epochs(-(-len(training) // config.batch_size))
        self.progress = Progress(noise_power=torch.ones(data.grid.n_shells, device=data.device))
        self.poses: PoseRefinement | None = None
        self.objective = FlowObjective(model, data, config, given=start is not None)
        self.table = self.objective.table
        self.solver = MapSolver(model, self.objective.map, data, training)
        outside = torch.ones(len(data), dtype=torch.bool)
        outside[training] = False
        self.held_out = outside.nonzero()[:MOST, 0]
        self.likelihood = Likelihood(model, data, training, self.held_out)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "flow": torch.optim.Adam(self.objective.flow.parameters(), lr=config.flow_rate)
        }
        self.steps = Steps(data, self.progress, _MICRO_BATCH)

    @property
    def finished(self) -> bool:
        """True after the last epoch."""
        return self.progress.epoch >= self.epochs

    def restored(self) -> None:
        """Nothing depends on the state but the state itself."""

    def phase(self) -> str:
        """What the next epoch trains: ``flow`` (with the latents) or ``map``; the last epoch is the flow's."""
        after = self.progress.epoch - self.config.fixed_map_epochs
        return "map" if after >= 0 and after % 2 == 0 and self.progress.epoch < self.epochs - 1 else "flow"

    def run_epoch(self, report: Report, every_batch: EveryBatch = lambda _done, _total: None) -> None:
        """One sweep over the training particles, and the likelihood of those held out."""
        started, phase = time.monotonic(), self.phase()
        if self.progress.epoch == 0 and self.progress.step == 0:
            self._match_scale()
            if self.start is not None:
                self.table.set_mean(torch.arange(len(self.data)), self.start().to(self.data.device))
        figures = self._map_epoch(every_batch) if phase == "map" else self._flow_epoch(every_batch)
        figures |= self.likelihood.figures(self.progress)
        self.progress.epoch += 1
        self.progress.begin_epoch()
        report({
            "half": self.data.half, "epoch": self.progress.epoch, "phase": phase, **figures,
            "lambda": self.config.rigidity, "seconds": time.monotonic() - started,
        })  # fmt: skip

    def weights(self) -> Tensor:
        """The weights of image coefficients in the likelihood, ``(h w)``."""
        return noise_weights(self.progress.noise_power, self.data.grid)

    @property
    def _map_is_fixed(self) -> bool:
        return self.progress.epoch < self.config.fixed_map_epochs

    def _flow_epoch(self, every_batch: EveryBatch) -> dict[str, float]:
        self._set_rate()
        state, weights = self.progress, self.weights()
        if state.step == 0:
            state.begin_epoch()
        steps = -(-len(self.training) // self.config.batch_size)
        accumulate = partial(self.objective.accumulate, weights=weights, fixed_map=self._map_is_fixed)
        for batches in self._updates(skip=state.step):
            for part in self.steps.take(batches, accumulate, self.optimisers.values()):
                assert part.latents is not None
                self.table.set_mean(part.index, part.latents)
                state.add(len(part.index), len(self.training), part.figures, part.left)
            state.step += 1
            every_batch(state.step, steps)
        figures = state.figures(self.data.grid) | self._held_out_losses(weights)
        state.learn_noise(len(self.training))
        return {"steps": steps, **figures}

    @torch.no_grad()
    def _held_out_losses(self, weights: Tensor) -> dict[str, float]:
        """Mean data loss of particles that neither flow nor map have learned from: as they are found, and at rest.

        As in :meth:`Progress.figures`, with the noise's part.
        """
        if len(self.held_out) == 0:
            return {}
        flexible = rigid = len(self.held_out) * float(log_normaliser(self.progress.noise_power, self.data.grid))
        for part in self.held_out.split(_MICRO_BATCH):
            batch = self._still(part)
            self.table.set_mean(batch.index, self.objective.infer(batch, weights, self._map_is_fixed).mean)
            flexible += self._loss(batch, weights, self.table.mean_of(batch.index))
            rigid += self._loss(batch, weights, torch.zeros(len(part), self.config.latent_dim, device=weights.device))
        return {"held_out_loss": flexible / len(self.held_out), "held_out_rigid_loss": rigid / len(self.held_out)}

    def _loss(self, batch: Batch, weights: Tensor, z: Tensor) -> float:
        prediction = self.model.render(self.model.deformed(z), batch.pose, batch.ctf)
        return float(data_loss(prediction, batch.coefficients, weights).sum())

    def _map_epoch(self, every_batch: EveryBatch) -> dict[str, float]:
        band = band_limit(
            self.progress.epoch,
            self.config.fixed_map_epochs,
            self.epochs,
            self.data.grid,
            self.config.shared_resolution,
            self.config.finest_band,
        )
        self.solver.update(
            self.table.mean_of,
            self.progress.noise_power,
            band=band,
            iterations=self.config.map_iterations,
            every_batch=every_batch,
        )
        return {"steps": 0, "band": band}

    def _updates(self, skip: int) -> Iterator[list[Batch]]:
        """The micro-batches of every update but the first ``skip``."""
        key = (self.config.seed, self.data.half, self.progress.epoch, _STREAM_EPOCH)
        size = min(_MICRO_BATCH, self.config.batch_size)
        each = -(-self.config.batch_size // size)
        batches = self.data.batches(self.training, size, self.config.latent_dim, key, skip * each)
        while pending := list(islice(batches, each)):
            yield pending

    def _match_scale(self) -> None:
        """Give the map the scale at which its projections fit the particles best."""
        some = (self._still(part) for part in self.training[:2048].split(256))
        self.objective.map.values.mul_(matching_scale(self.model, self.data, some))

    def _still(self, index: Tensor) -> Batch:
        """The particles ``index`` ``(b)`` without any noise on their latents."""
        return self.data.batch(index, torch.zeros(len(index), self.config.latent_dim))

    def _set_rate(self) -> None:
        """The flow's rate falls geometrically from its first to its last value."""
        done = self.progress.epoch / max(self.epochs - 1, 1)
        rate = self.config.flow_rate * (self.config.last_flow_rate / self.config.flow_rate) ** done
        for group in self.optimisers["flow"].param_groups:
            group["lr"] = rate * self.progress.caution
