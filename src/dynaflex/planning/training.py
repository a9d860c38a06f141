"""What the training of a half takes: one epoch of each kind that its plan has, by the real trainer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dynaflex import spent
from dynaflex.costs.laws import NOTHING, Cost, Line
from dynaflex.data.halves import halves_digest
from dynaflex.planning.watch import cost_of
from dynaflex.training import checkpoint, final_latents
from dynaflex.training.how_stiff import STRENGTHS
from dynaflex.training.likelihood import MOST
from dynaflex.training.linear_start import MOST as MOST_AT_FIRST
from dynaflex.training.loop import half_set
from dynaflex.training.method import AnyMethod, AnyWork, Trainer


@dataclass(frozen=True)
class Trained:
    """What a half of so many ``particles``, ``training`` of them in training, took.

    Its ``images``; what comes ``first``, before any epoch; an epoch of each of ``kinds``; the ``trial`` of all
    strengths at one sitting, in an epoch of the kind ``tried_in``, each by ``updates`` of ``batch_size`` and
    ``judged`` by so many particles; the ``final`` latents. The whole training has so many ``epochs`` of each kind and
    so many ``sittings``, and that of the run that is planned tries by ``updates_in_full``; the updates of ``retaken``
    epochs of each kind are taken once more.
    """

    particles: int
    training: int
    images: Cost
    first: Cost
    kinds: Mapping[str, Cost]
    epochs: Mapping[str, int]
    retaken: Mapping[str, int]
    trial: Cost
    updates: int
    updates_in_full: int
    judged: int
    sittings: int
    tried_in: str
    batch_size: int
    final: Cost


def trained(work: AnyWork, method: AnyMethod, half: int, batches: int) -> Trained:
    """Train a half of few particles by one epoch of each kind, and find its last latents. The epochs of the run that
    is planned have so many ``batches``."""
    with spent.counted() as read, spent.on("reading"):
        data, training = half_set(work, half)
    members = data.particles
    trainer = method.trainer(work, data, training)
    digest = halves_digest(members.half, members.rows)
    kinds, trial, first = {}, NOTHING, NOTHING
    schedule = kinds_of(trainer)
    for epoch in epochs_to_see(schedule, trainer.trials):
        taken = _epoch(work, trainer, epoch, digest)
        kinds[schedule[epoch]] = cost_of("training", taken)
        first = first + cost_of("first latents", taken)
        if epoch in trainer.trials:
            trial = trial + cost_of("stiffness", taken)
    last = _ended(work, trainer, digest)
    # A strength is tried on one epoch's batches at most.
    own = -(-len(training) // trainer.config.batch_size)
    return Trained(
        particles=len(members),
        training=len(training),
        images=cost_of("reading", read),
        first=first,
        kinds=kinds,
        epochs=Counter(schedule),
        retaken=trainer.retaken,
        trial=trial,
        updates=min(trainer.trial_length(own), own),
        updates_in_full=min(trainer.trial_length(batches), batches),
        judged=min(len(members) - len(training), MOST),
        sittings=len(trainer.trials),
        tried_in=schedule[min(trainer.trials, default=-1)],
        batch_size=trainer.config.batch_size,
        final=cost_of("final latents", last),
    )


def only_ended(work: AnyWork, method: AnyMethod, half: int) -> None:
    """A half that was not trained, and has latents: something to compare the other one with."""
    data, training = half_set(work, half)
    trainer = method.trainer(work, data, training)
    digest = halves_digest(data.particles.half, data.particles.rows)
    _epoch(work, trainer, trainer.epochs - 1, digest)
    _ended(work, trainer, digest)


def _ended(work: AnyWork, trainer: Trainer, digest: str) -> spent.Spent:
    trainer.progress.epoch = trainer.epochs
    checkpoint.save(work.run, trainer, digest)
    with spent.counted() as last, spent.on("final latents"):
        final_latents.find_final_latents(work.run, trainer)
    return last


def kinds_of(trainer: Trainer) -> list[str]:
    """The kind of every epoch, in order."""
    kinds = []
    for epoch in range(trainer.epochs):
        trainer.progress.epoch = epoch
        kinds.append(trainer.kind())
    trainer.progress.epoch = 0
    return kinds


def epochs_to_see(kinds: list[str], trials: set[int]) -> list[int]:
    """The first epoch, and one of each kind: where strengths are tried, if that is in one, and else the last."""
    chosen: dict[str, int] = {}
    for epoch, kind in enumerate(kinds):
        if chosen.get(kind, -1) not in trials:
            chosen[kind] = epoch
    return sorted({0, *chosen.values()})


def _epoch(work: AnyWork, trainer: Trainer, epoch: int, digest: str) -> spent.Spent:
    trainer.progress.epoch = epoch
    trainer.progress.begin_epoch()
    with spent.counted() as taken, spent.on("training"):
        trainer.run_epoch(lambda _figures: None, lambda _done, _total: None)
        checkpoint.save(work.run, trainer, digest)
    return taken


@dataclass(frozen=True)
class TrainingLaw:
    """How a training grows with the particles of the half, from two sizes of it."""

    fewer: Trained
    more: Trained

    def first(self, particles: int) -> Cost:
        """What comes before the first epoch: linear components are found from so many particles at most."""
        return self._line("first").at(min(particles, MOST_AT_FIRST))

    def final(self, particles: int) -> Cost:
        """The last latents."""
        return self._line("final").at(particles)

    def images(self, particles: int) -> Cost:
        """Images made ready."""
        return self._line("images").at(particles)

    def epoch(self, kind: str, particles: int) -> Cost:
        """One epoch."""
        return self._line_of(kind).at(particles)

    def epochs(self, particles: int) -> Cost:
        """All epochs that are planned."""
        return self._sum(self.more.epochs, particles)

    def retaken(self, particles: int) -> Cost:
        """The epochs that a trial takes once more; whether it does, few particles cannot tell for all."""
        return self._sum(self.more.retaken, particles)

    def later_epoch(self, particles: int) -> Cost:
        """One of those that may be added: of all kinds that come last, as often as they come then."""
        late = list(self.more.epochs)[-2:]
        return sum((self.epoch(kind, particles) for kind in late), NOTHING) / len(late)

    def trials(self, judged: int) -> Cost:
        """All trials, ``judged`` by so many particles held out."""
        seen = self.more
        if not seen.sittings or not seen.judged:
            return NOTHING
        update = self._line_of(seen.tried_in).each * seen.particles / seen.training * seen.batch_size
        arms = STRENGTHS * update
        beside = np.clip(seen.trial - seen.updates * arms, 0.0, None)
        return seen.sittings * (seen.updates_in_full * arms + beside * judged / seen.judged)

    def _sum(self, epochs: Mapping[str, int], particles: int) -> Cost:
        return sum((count * self.epoch(kind, particles) for kind, count in epochs.items()), NOTHING)

    def _line_of(self, kind: str) -> Line:
        few, many = self.fewer, self.more
        return Line.through((few.particles, few.kinds[kind]), (many.particles, many.kinds[kind]))

    def _line(self, what: str) -> Line:
        few, many = self.fewer, self.more
        return Line.through((few.particles, getattr(few, what)), (many.particles, getattr(many, what)))
