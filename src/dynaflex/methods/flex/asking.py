"""What is asked of images that nothing is learned from, in the training of one half.

Along how many coordinates a molecule moves, how stiff it is, and whether motion of the whole is motion of the molecule.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import torch

from dynaflex import ranks, spent
from dynaflex.deformation.base import Deformation
from dynaflex.imaging.batch import Batch
from dynaflex.inference.energy import energy_of
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.prior import GAUSSIAN
from dynaflex.methods.flex import how_many
from dynaflex.methods.flex.cutting import TrainerOnMesh
from dynaflex.methods.meshed.folds import MapProgress, showing
from dynaflex.shapes import Tensor
from dynaflex.training import how_stiff
from dynaflex.training.likelihood import Judges, take_whole_off
from dynaflex.training.steps import Diverged
from dynaflex.training.undone import undone

_REMEMBERED = 100
"""Updates of which the flow knows: it forgets those before them as fast as others come, so that more particles than
these show it do not make it quieter."""


@dataclass
class FlexProgress(MapProgress):
    """``strain`` ``(t)`` is that of every cell at the end of the last epoch of the flow, empty before it is known.

    ``rigidity`` is lambda, and ``tried`` says of all that were tried before this epoch: rigidity, gain and error.
    ``whole`` is what images gain there if motion of the whole has latents of its own, and its error. ``evidence``
    ``(p)`` is that of the particles held out when it was last asked whether to go on, empty before.
    """

    strain: Tensor = field(default_factory=lambda: torch.zeros(0))
    rigidity: float = how_stiff.FIRST
    tried: list[list[float | None]] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    evidence: Tensor = field(default_factory=lambda: torch.zeros(0))


class AskingTrainer(TrainerOnMesh):
    """Trains a flow on a mesh, and lets images that are held out decide what no setting is right for."""

    progress: FlexProgress
    trial_updates: int

    @abstractmethod
    def _found(self, batch: Batch, weights: Tensor) -> Posterior:
        """The latents ``(b k)`` of a batch under the present model, from where they stood, and how wide they are."""

    def _ask(self) -> None:
        """In the epochs where they are asked, let images that nothing is learned from say whether the whole moves, how
        many coordinates the motion has, and how stiff the molecule is."""
        self.progress.tried, self.progress.whole = [], []
        if self.progress.epoch in self.trials:
            if self.progress.epoch == min(self.trials):
                self._choose_frame(self.weights())
            self._choose_coordinates(self.weights())
            if self.config.rigidity is None:
                self._choose_rigidity(self.weights())

    @spent.on("stiffness")
    def _choose_frame(self, weights: Tensor) -> None:
        """Take motion of the whole off all motion, unless images object; of an asymmetric unit all else is held."""
        if not bool(self.flow.fixed.any()):
            evidence = partial(self.judges.evidence_of_two, self.model, weights=weights)
            self.progress.whole = take_whole_off(self.flow.still, self.flow, self._find_still, evidence)

    def _find_still(self) -> Deformation:
        """Find what stands still in particles in training, and give motion of the whole and within apart."""
        self.flow.find_still(self._some_latents(), self.map.mass(self.flow.mesh))
        return self.flow.apart()

    @spent.on("stiffness")
    def _choose_rigidity(self, weights: Tensor) -> None:
        """Go on with the stiffness that they are likelier with: the stiffest where it is as likely that nothing
        moves, and in the end as soft a one as they allow where they would miss the motion."""
        state, evidence = self.progress, partial(self._evidence_with, weights=weights)
        rest = how_stiff.at_rest(self._evidence(weights), self._at_rest(weights))
        if rest.less_likely_by_a_motion and state.epoch == max(self.trials):
            heard = min(self.data.count(self.training), _REMEMBERED * self.config.batch_size)
            state.rigidity, tried = how_stiff.freed(state.rigidity, heard, evidence)
        else:
            state.rigidity, tried = how_stiff.chosen(state.rigidity, how_stiff.FIRST, evidence, rest)
        state.tried = how_stiff.told([rest, *tried])

    def _choose_coordinates(self, weights: Tensor) -> None:
        """Turn the latents so that images tell most of the first, and give up the last ones that nobody needs."""
        flow, every = self.flow, torch.arange(len(self.data))
        if self.prior is GAUSSIAN:
            covariances = partial(self.judges.asked, lambda batch: self._found(batch, weights).covariances())
            turn = how_many.by_information(ranks.rows(self.held_out, covariances))
            flow.turn(turn)
            self.table.set_mean(every, self.table.mean_of(every) @ turn.T)

        def evidence(active: Tensor) -> Tensor:
            flow.active.copy_(active)
            return self._evidence(weights)

        # A motion that has just begun is worth little, and a coordinate that is given up does not come back.
        doubt = 0.0 if self.progress.epoch == max(self.trials) else how_stiff.CHANCE
        flow.active.copy_(how_many.needed(flow.active.clone(), evidence, doubt))
        self.table.set_mean(every, flow.effective(self.table.mean_of(every)))

    def _at_rest(self, weights: Tensor) -> Tensor:
        """The logarithm ``(i)`` of how likely the images held out are if none tells a conformation: by a rigid map from
        the same particles, or by the mean over all conformations, whichever makes them likelier. A motion smooths its
        map besides, and noise in it with it, which does not say that anything moves."""

        def likely(batch: Batch) -> Tensor:
            return -energy_of(self.model, batch, weights, self._resting_latents(batch.index), self.prior)

        with showing(self.map, self._solved(self._resting_latents).mean(dim=0)):
            rigid = self.judges.likely(likely)
        mean = self.judges.on_the_mean(self.model, self.config.latent_dim, weights)
        return max(rigid, mean, key=lambda likely: float(likely.mean()))

    def _resting_latents(self, index: Tensor) -> Tensor:
        return torch.zeros(len(index), self.config.latent_dim, device=self.data.device)

    def _evidence_with(self, rigidity: float, weights: Tensor) -> Tensor:
        """That of the images held out ``(i)``, after some updates with another rigidity, which are undone."""
        with undone(self):
            self.progress.rigidity = rigidity
            accumulate = partial(self._cross_fitted, weights=weights)
            try:
                for batches in islice(self._updates(skip=0), self.trial_updates):
                    self._update(batches, accumulate)
            except Diverged:
                return torch.full((1,), torch.nan)
            return self._evidence(weights)

    def _evidence(self, weights: Tensor) -> Tensor:
        return self.judges.evidence(self.model, weights)

    @property
    def judges(self) -> Judges:
        """The images that are asked."""
        return Judges(self.data, self.held_out, self._noiseless, self._latents, self.prior)

    def _latents(self, batch: Batch) -> Tensor:
        return self.flow.effective(self.table.mean_of(batch.index))
