"""What is asked of images that nothing is learned from, in the training of one half: how stiff the molecule is, and
whether motion of the whole is motion of the molecule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch

from dynaflex import spent
from dynaflex.deformation.base import Deformation
from dynaflex.deformation.lattice import OnLattice
from dynaflex.deformation.still import FromStill
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.training import how_stiff
from dynaflex.training.likelihood import Judges, Likelihood, take_whole_off
from dynaflex.training.steps import Progress

_SHOWN_BY = 2
"""Batches of 64 particles that show what stands still."""
STREAM_POOL = 3


@dataclass
class DynamightProgress(Progress):
    """What the schedule of DynaMight has to remember."""

    joint_epochs: int = 0
    strength: float = 0.0
    """lambda, in nats per Å²."""
    stiffer: float = 1.0
    """By what factor images that were held out have lambda otherwise than by the balance."""
    tried: list[list[float | None]] = field(default_factory=list)
    """Of all that were tried before this epoch: lambda, gain and error."""
    whole: list[float] = field(default_factory=list)
    """What images gain, and its error, if motion of the whole has latents of its own, where they were asked."""
    rises: int = 0
    last_loss: float = float("inf")
    rest: Tensor = field(default_factory=lambda: torch.zeros(0, 3))
    """The reference ``(n 3)`` whose neighbours make the graph: as it stood when the epoch began."""


class AskingTrainer(ABC):
    """Trains a decoder, and lets images that are held out decide what no setting is right for."""

    model: FlexModel
    data: HalfSet
    training: Tensor
    config: DynamightConfig
    progress: DynamightProgress
    likelihood: Likelihood
    held_out: Tensor
    trials: set[int]

    @abstractmethod
    def _evidence_with(self, strength: float, weights: Tensor) -> Tensor:
        """That of the images held out ``(i)``, after some updates with another lambda, which are undone."""

    def _ask(self, present: float, balanced: float, weights: Tensor) -> None:
        """In the epochs where they are asked, let images that nothing is learned from say whether the whole moves, and
        how stiff the molecule is: so much at ``present``, and ``balanced`` against the images."""
        state = self.progress
        if state.epoch not in self.trials:
            return
        if state.epoch == min(self.trials):
            self._choose_frame(weights)
        evidence = partial(self._evidence_with, weights=weights)
        state.strength, tried = how_stiff.chosen(present, balanced, evidence)
        state.stiffer *= state.strength / present
        state.tried = how_stiff.told(tried)

    @spent.on("stiffness")
    def _choose_frame(self, weights: Tensor) -> None:
        """Take motion of the whole off all motion, unless images object; of an asymmetric unit all else is held."""
        motion = self._motion()
        if motion is not None:
            evidence = partial(self.judges.evidence_of_two, self.model, weights=weights)
            self.progress.whole = take_whole_off(
                motion.still, self.model.deformation, partial(self._find_still, motion), evidence
            )

    def _told(self) -> dict[str, Any]:
        """The answers of this epoch, as figures; and whether motion is told from what stands still."""
        asked = {"tried": self.progress.tried, "whole": self.progress.whole}
        motion = self._motion()
        return {"still": motion is not None and motion.still.known} | {name: one for name, one in asked.items() if one}

    def _motion(self) -> FromStill | None:
        """What moves, if it can be told from what stands still; of an asymmetric unit all else is held."""
        moves = self.model.deformation
        network = moves.network if isinstance(moves, OnLattice) else None
        return network if isinstance(network, FromStill) else None

    @torch.no_grad()
    def _find_still(self, motion: FromStill) -> Deformation:
        """Find what stands still in particles in training, at the nodes of the lattice, where alone the decoder knows
        what it says; and give motion of the whole and within apart."""
        lattice, density = self.model.deformation, self.model.density
        assert isinstance(lattice, OnLattice)
        nodes, corners, weights = lattice.stencil(density.points())
        mass = (weights * density.weights(self.data.grid).sum(dim=0)[:, None]).flatten()
        at_nodes = torch.zeros(len(nodes), device=mass.device).index_add_(0, corners.flatten(), mass)
        motion.find_still(self._some_latents(_SHOWN_BY), nodes, at_nodes)
        return motion.apart(lattice)

    @torch.no_grad()
    def _some_latents(self, batches: int) -> Tensor:
        """Those ``(m k)`` of as many ``batches`` of 64 particles in training."""
        key = (self.config.seed, self.data.half, self.progress.epoch, STREAM_POOL)
        draws = self.data.draws(self.training, 64, self.config.latent_dim, key)
        some = [self.data.batch(part, noise=noise) for part, noise in islice(draws, batches)]
        return torch.cat([batch.series.one(self.model.latents.posterior(batch).mean) for batch in some])

    def _evidence(self, weights: Tensor) -> Tensor:
        """The logarithm ``(i)`` of how likely the model makes the images held out, whatever their latents are."""
        return self.judges.evidence(self.model, weights)

    @property
    def judges(self) -> Judges:
        """The images that are asked."""
        latents = lambda batch: self.model.latents.posterior(batch).mean  # noqa: E731
        return Judges(self.data, self.held_out, self.likelihood.batch, latents, self.config.latent_prior)
