"""The training of one half on a canonical map: its motion against a fixed map, then map and motion in turn.

There are two maps, each from one fold of the particles; the motion of a particle is found against the other fold's.
The model's map is the mean of both: particles held out, and all that comes after training, see it.

Every random number is a function of (seed, half, epoch, particle), so a run that was stopped and resumed is the run
that was not.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

import torch

from dynaflex import ranks, spent
from dynaflex.config import MapConfig
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.methods.meshed.folds import MapProgress, by_fold, of_the_others
from dynaflex.methods.meshed.map_solver import MapSolver
from dynaflex.methods.meshed.marching import band_limit
from dynaflex.methods.meshed.model import on_mesh
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.training.contrast import Contrasts
from dynaflex.training.likelihood import MOST, Likelihood
from dynaflex.training.method import EveryBatch, Report
from dynaflex.training.scale import matching_scale
from dynaflex.training.steps import Accumulate, Contribution, Steps, told

_MICRO_BATCH = 64
_STREAM_EPOCH = 1

C = TypeVar("C", bound=MapConfig)


class InTurn(ABC, Generic[C]):
    """Trains the model of one half-set, one epoch at a time; how the motion is learned is the subclass."""

    motion: str
    """What an epoch of the motion is called."""

    def __init__(
        self, model: FlexModel, data: HalfSet, training: Tensor, config: C, epochs: int, progress: MapProgress
    ) -> None:
        self.data = data
        self.training = training
        self.config = config
        self.planned = epochs
        self.progress = progress
        self.poses: PoseRefinement | None = None
        self.prior = config.latent_prior
        self.held_out = data.some(data.without(training), MOST)
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.take(model)
        self.trials: set[int] = set()
        self.retaken: Mapping[str, int] = {}
        self.steps = Steps(data, self.progress, _MICRO_BATCH)
        self.contrasts = Contrasts(data, training, self.progress)

    def take(self, model: FlexModel) -> None:
        """Train this ``model`` from now on."""
        self.model = model
        self.moves, self.map = on_mesh(model)
        assert isinstance(model.latents, LatentTable)
        self.table = model.latents
        self.solver = MapSolver(model, self.map, self.data, self.training)
        self.likelihood = Likelihood(model, self.data, self.training, self.held_out)

    def expect(self, state: Mapping[str, Tensor]) -> None:
        """Make room for the ``state`` of a model; nothing, where its shapes never change."""

    @abstractmethod
    def _accumulate(self, batch: Batch, share: float, *, weights: Tensor) -> Contribution:
        """Find the latents of a micro-batch, and add its share to the gradient of what is learned with them."""

    @abstractmethod
    def _infer(self, batch: Batch, weights: Tensor) -> Tensor:
        """The latents ``(b k)`` of a batch under the present model, from where they stood."""

    @torch.no_grad()
    def _contribution(
        self,
        batch: Batch,
        weights: Tensor,
        latents: Tensor,
        destinations: Tensor,
        prediction: Tensor,
        terms: dict[str, Tensor],
    ) -> Contribution:
        """What a batch adds with its ``latents`` ``(b k)``, predicted with the density at ``destinations``: its
        ``terms`` as figures, and those that every motion has."""
        self.contrasts.seen(batch, prediction, weights)
        moved = (destinations - self.model.density.points()).square().sum(-1).mean().sqrt()
        everywhere = {"rms_displacement": moved, "latent_spread": latents.square().mean().sqrt()}
        left = self.data.power_left(prediction, batch)
        return Contribution(batch.index, told(terms | everywhere), left, latents)

    def _begin(self) -> None:
        """What comes before the first update of all."""

    def _begin_motion(self) -> None:
        """What comes before an epoch of the motion, and before what is left of one."""

    def _begin_map(self) -> None:
        """What comes before the map is solved for."""

    def _end_motion(self) -> dict[str, Any]:
        """What is learned from all particles together at the end of an epoch of the motion; its figures."""
        return {}

    def _end_epoch(self) -> None:
        """What comes after an epoch of either kind."""

    @property
    def epochs(self) -> int:
        """How many there will be, as far as is known: those planned, and those added to them."""
        return self.planned + self.progress.added

    @property
    def finished(self) -> bool:
        """True after the last epoch."""
        return self.progress.epoch >= self.epochs

    def restored(self) -> None:
        """Give the images their contrasts and their noise back."""
        self.contrasts.restored()

    def phase(self) -> str:
        """What the next epoch trains: the ``motion`` (with the latents) or the ``map``; the last is the motion's."""
        after = self.progress.epoch - self.config.fixed_map_epochs
        return "map" if after >= 0 and after % 2 == 0 and self.progress.epoch < self.epochs - 1 else self.motion

    def kind(self) -> str:
        """What the next epoch does: how latents are found changes when the map begins to be solved for."""
        return f"{self.phase()}{', fixed map' * (self.progress.epoch < self.config.fixed_map_epochs)}"

    def trial_length(self, batches: int) -> int:
        """None: nothing is tried."""
        return 0

    def run_epoch(self, report: Report, every_batch: EveryBatch = lambda _done, _total: None) -> None:
        """One sweep over the training particles, and the likelihood of those held out."""
        started, phase = time.monotonic(), self.phase()
        if self.progress.epoch == 0 and self.progress.step == 0:
            with spent.on("first latents"):
                self._match_scale()
                self.contrasts.begin(self.model)
                self._begin()
        figures = self._map_epoch(every_batch) if phase == "map" else self._motion_epoch(every_batch)
        figures |= self.likelihood.figures(self.progress)
        self.progress.epoch += 1
        self.progress.begin_epoch()
        self._end_epoch()
        report({
            "half": self.data.half, "epoch": self.progress.epoch, "phase": phase, **figures,
            "seconds": time.monotonic() - started,
        })  # fmt: skip

    def weights(self) -> Tensor:
        """The weights of image coefficients in the likelihood, ``(h w)``."""
        return noise_weights(self.progress.noise_power, self.data.grid)

    def _motion_epoch(self, every_batch: EveryBatch) -> dict[str, Any]:
        self._begin_motion()
        state, weights = self.progress, self.weights()
        if state.step == 0:
            state.begin_epoch()
        steps = -(-self.data.count(self.training) // self.config.batch_size)
        accumulate = partial(self._cross_fitted, weights=weights)
        for batches in self._updates(skip=state.step):
            for part in self._update(batches, accumulate):
                state.add(len(part.index), len(self.training), part.figures, part.left)
            state.step += 1
            every_batch(state.step, steps)
        figures = state.figures(self.data, self.training) | self._held_out_losses(weights)
        state.learn_noise(self.data, self.training)
        return {"steps": steps, **figures, **self.contrasts.settle(), **self._end_motion()}

    def _update(self, batches: list[Batch], accumulate: Accumulate) -> list[Contribution]:
        """One update from these batches, and the latents that were found on the way."""
        added = self.steps.take(batches, accumulate, self.optimisers.values())
        for part in added:
            assert part.latents is not None
            self.table.set_mean(part.index, part.latents)
        return added

    def _cross_fitted(self, batch: Batch, share: float, *, weights: Tensor) -> Contribution:
        """As :meth:`_accumulate`, against the map of the fold that the particles of a batch do not belong to."""
        with of_the_others(self.map, self.progress.fold_maps, batch, self.data.particle):
            return self._accumulate(batch, share, weights=weights)

    @torch.no_grad()
    def _held_out_losses(self, weights: Tensor) -> dict[str, float]:
        """Mean data loss of particles that neither motion nor map have learned from: as they are found, and at rest.

        As in :meth:`Progress.figures`, with the noise's part.
        """
        if len(self.held_out) == 0:
            return {}
        constant = float(self.data.log_normalisers(self.progress.noise_power, self.held_out).sum())
        flexible = rigid = constant / ranks.size()

        def losses(batch: Batch) -> list[float]:
            z = self._infer(batch, weights)
            both = [self._predicted(batch, latents) for latents in (z, torch.zeros_like(z))]
            found = torch.stack([data_loss(images, batch.coefficients, weights).sum() for images in both]).tolist()
            self.contrasts.seen(batch, both[0], weights)
            self.table.set_mean(batch.index, z)
            return found

        def look(index: Tensor) -> None:
            nonlocal flexible, rigid
            count = ranks.counts(len(index), len(self.held_out))
            for part in map(self._noiseless, self.data.parts(index, _MICRO_BATCH)):
                for moved, unmoved in part.in_pieces(losses):
                    flexible += count * moved
                    rigid += count * unmoved

        self.contrasts.look(self.held_out, look)
        everyone = self.held_out.to(self.data.device)
        self.table.set_mean(everyone, ranks.rows(everyone, self.table.mean_of))
        both = ranks.summed_together([torch.tensor([flexible, rigid], dtype=torch.float64)])[0]
        flexible, rigid = (both / len(self.held_out)).tolist()
        return {"held_out_loss": flexible, "held_out_rigid_loss": rigid}

    def _predicted(self, batch: Batch, z: Tensor) -> Tensor:
        points = batch.series.each(self.model.deformed(batch.series.one(z)))
        return self.model.render(points, batch.pose, batch.ctf)

    def _map_epoch(self, every_batch: EveryBatch) -> dict[str, float]:
        self._begin_map()
        self.progress.fold_maps = self._solved(self.table.mean_of, every_batch)
        self.map.values.copy_(self.progress.fold_maps.mean(dim=0))
        return {"steps": 0, "band": self._band()}

    def _solved(
        self, latents: Callable[[Tensor], Tensor], every_batch: EveryBatch = lambda _done, _total: None
    ) -> Tensor:
        """The maps ``(2 n)`` of both folds, whose particles have the latents ``latents(index (b))`` ``(b k)``."""
        return self.solver.solved(
            latents,
            self.progress.noise_power,
            band=self._band(),
            iterations=self.config.map_iterations,
            every_batch=every_batch,
        )

    def _band(self) -> int:
        """The last shell that the map has in this epoch."""
        config = self.config
        return band_limit(
            self.progress.epoch,
            config.fixed_map_epochs,
            self.planned,
            self.data.grid,
            config.shared_resolution,
            config.finest_band,
        )

    def _updates(self, skip: int) -> Iterator[list[Batch]]:
        """The micro-batches of every update but the first ``skip``, each of one fold."""
        key = (self.config.seed, self.data.half, self.progress.epoch, _STREAM_EPOCH)
        size = min(_MICRO_BATCH, self.config.batch_size)
        each = -(-self.config.batch_size // size)
        batches = self.data.batches(
            self.training, size, self.config.latent_dim, key, skip * each, self.progress.quarantine
        )
        while pending := list(islice(batches, each)):
            yield [part for batch in pending for part in by_fold(batch, self.data.particle)]

    def _match_scale(self) -> None:
        """Give the map the scale at which its projections fit the particles best."""
        some = (self.data.shared(part) for part in self.training[:2048].split(256))
        self.map.values.mul_(matching_scale(self.model, self.data, some))

    def _noiseless(self, index: Tensor) -> Batch:
        """The particles ``index`` ``(b)`` without any noise on their latents."""
        return self.data.batch(index)
