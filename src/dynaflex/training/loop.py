"""The training of one half to its end, through stops, full disks, and numbers that are not finite."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dynaflex import ranks, spent, tell
from dynaflex.data.halves import halves_digest
from dynaflex.errors import DynaflexError, EnvironmentFault, NumericalError, ResourceError
from dynaflex.io.star import write_star
from dynaflex.prepare.half import HalfSet
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import read_table
from dynaflex.run.refusals import to_resume
from dynaflex.run.stop import Stop
from dynaflex.shapes import Tensor
from dynaflex.spent import memory_mb
from dynaflex.training import checkpoint, final_latents
from dynaflex.training.method import AnyMethod, AnyWork, Trainer
from dynaflex.training.steps import Diverged

SAVE_EVERY = 600.0
"""Seconds after which a long epoch is saved before its end."""

UNSAVED = 7200.0
"""Seconds that a training goes on although it cannot be saved."""

ROLLBACKS = 3

SETTLED_AFTER, GROWTH = 3, 1000.0
"""Epochs after which the memory in use should not grow any more, and the MB by which it may."""


def train_half(work: AnyWork, method: AnyMethod, half: int, stop: Stop) -> None:
    """Train one half to its end, and find the final latents of its particles.

    Raises:
        NumericalError: the training diverged again and again.
        ResourceError, EnvironmentFault: its checkpoints cannot be written.
        StoppedOnRequest: it was asked to stop, and is saved.
    """
    with spent.on("reading"):
        data, training = half_set(work, half)
    digest = halves_digest(data.particles.half, data.particles.rows)
    with spent.on("training"):
        trainer = _at_newest(work, method.trainer(work, data, training), digest)
        watched = _Watched(work, trainer, digest, stop)
        while not trainer.finished:
            try:
                with stop.hold():
                    watched.run_epoch()
            except Diverged as diverged:
                trainer = _rolled_back(work, diverged, trainer, method.trainer(work, data, training), digest)
                watched = _Watched(work, trainer, digest, stop)
    with spent.on("final latents"):
        final_latents.find_final_latents(work.run, trainer)


def half_set(work: AnyWork, half: int) -> tuple[HalfSet, Tensor]:
    """One half of the particles, and which of them ``(t)`` are trained on."""
    inputs = work.inputs
    members = inputs.particles.take(inputs.members(half))
    return HalfSet(members, half, inputs.imaging, work.device), inputs.learned_from(half)


def _at_newest(work: AnyWork, trainer: Trainer, digest: str) -> Trainer:
    """An untrained half, or one that continues where its newest checkpoint stands."""
    half, progress = trainer.data.half, trainer.progress
    if checkpoint.restore(work.run, trainer, digest):
        within = f", update {progress.step}" if progress.step else ""
        tell.say(f"half {half}: resumed after epoch {progress.epoch}{within}")
    work.run.metrics.forget(half, after=progress.epoch)
    return trainer


def _rolled_back(work: AnyWork, why: Diverged, failed: Trainer, fresh: Trainer, digest: str) -> Trainer:
    """The training at its newest checkpoint, with all rates halved once more.

    Raises:
        NumericalError: it has diverged too often.
    """
    rollbacks = failed.progress.rollbacks + 1
    if rollbacks > ROLLBACKS:
        raise NumericalError(
            "training.diverged",
            f"half {failed.data.half} diverged again after {ROLLBACKS} returns to a checkpoint with ever smaller rates",
            file=work.run.path,
            found=why.problem,
            fix="look at the particles listed under quarantined in provenance.json, and at the map's contrast",
        ) from why
    trainer = _at_newest(work, fresh, digest)
    trainer.progress.rollbacks = rollbacks
    trainer.progress.quarantine = list(failed.progress.quarantine)
    work.run.warn(
        f"half {failed.data.half} diverged ({why.problem}); it went back to epoch {trainer.progress.epoch} "
        f"with {trainer.progress.caution:g} of its rates"
    )
    return trainer


class _Watched:
    """The training of a half, shown, saved and stopped between two updates."""

    def __init__(self, work: AnyWork, trainer: Trainer, digest: str, stop: Stop) -> None:
        self.work = work
        self.trainer = trainer
        self.digest = digest
        self.stop = stop
        self.task = f"training half {trainer.data.half}"
        self.figures = ""
        self.saved = self.tried = time.monotonic()
        self.micro_batch = trainer.steps.micro_batch
        self.quarantined = len(trainer.progress.quarantine)
        self.settled = math.inf

    def run_epoch(self) -> None:
        """Train an epoch, or what is left of it, and save it."""
        self.trainer.run_epoch(self._on_epoch, self._on_batch)
        self._save(at_any_cost=self.trainer.finished or self.stop.requested)

    def _on_batch(self, done: int, total: int) -> None:
        trainer = self.trainer
        self._tell_trouble()
        if self._is_to_stop():
            if trainer.progress.step:
                self._save(at_any_cost=True)
            self.stop.cause = self.stop.cause or "another of its processes"
            self.stop.obey()
        if trainer.progress.step and time.monotonic() - self.tried > SAVE_EVERY:
            self._save_now()
        if done < total:
            self._show(trainer.progress.epoch + done / total)

    def _is_to_stop(self) -> bool:
        """Within an epoch all ranks stop after the same update, which is saved; else there is nothing to save."""
        asked = self.stop.requested
        return ranks.stopping(asked) if self.trainer.progress.step else asked

    def _save_now(self) -> None:
        """Save when this rank's clock says so; what has diverged they all notice together at the next update."""
        if ranks.size() == 1:
            self._save()
        elif ranks.rank() == 0:
            with suppress(Diverged):
                self._save()

    def _on_epoch(self, values: dict[str, Any]) -> None:
        memory = memory_mb()
        self.work.run.metrics.record({**values, "epochs": self.trainer.epochs, "memory_mb": memory})
        if values["epoch"] == SETTLED_AFTER:
            self.settled = memory
        if memory > self.settled + GROWTH:
            self.work.run.warn(
                f"{self.task}: memory has grown from {self.settled:.0f} to {memory:.0f} MB since epoch "
                f"{SETTLED_AFTER}, which it should not. Please report this; a run that runs out is resumed with "
                f"{to_resume(self.work.run.path)}"
            )
            self.settled = math.inf
        self.figures = _figures(values) or self.figures
        place = f"epoch {values['epoch']}/{self.trainer.epochs}"
        tell.note(f"{self.task} {place} {values['phase']} {self.figures}")
        self._show(self.trainer.progress.epoch)

    def _show(self, epochs: float) -> None:
        """Move the bar to so many epochs, the part of one that is at work included."""
        total = self.trainer.epochs
        tell.progress(self.task, epochs, total, f"epoch {min(int(epochs) + 1, total)}/{total}  {self.figures}".strip())

    def _save(self, at_any_cost: bool = False) -> None:
        """Save; on a disk that is full or away for a while, go on without, unless there is no later chance.

        Raises:
            ResourceError, EnvironmentFault: there is none, or it has failed for two hours, or the run is gone.
        """
        run, self.tried = self.work.run, time.monotonic()
        try:
            checkpoint.save(run, self.trainer, self.digest)
            self.saved = self.tried
        except (ResourceError, EnvironmentFault) as error:
            if not run.path.is_dir():
                raise _vanished(run.path) from error
            if at_any_cost or self.tried - self.saved > UNSAVED:
                raise
            tell.warn(f"not saved, the training goes on: {error}")

    def _tell_trouble(self) -> None:
        trainer, run = self.trainer, self.work.run
        if trainer.steps.micro_batch < self.micro_batch:
            self.micro_batch = trainer.steps.micro_batch
            run.warn(f"{self.task}: too little memory; updates are now made {self.micro_batch} particles at a time")
        if len(trainer.progress.quarantine) > self.quarantined:
            self.quarantined = len(trainer.progress.quarantine)
            particles = trainer.data.particles
            rows = particles.rows[trainer.progress.quarantine].tolist()
            run.do(quarantine, trainer.data.half, rows, particles.particles_block)


def quarantine(run: Run, half: int, rows: list[int], block: str) -> None:
    """Name the particles of a half that train nothing any more, in ``provenance.json`` and as ``quarantine.star``.

    They are rows of the table ``block`` of the input.
    """
    known = {**run.read_json(PROVENANCE).get("quarantined", {}), str(half): rows}
    run.write_provenance(quarantined=known)
    star = read_table(run)
    star.blocks[block] = star.blocks[block].iloc[sorted(row for some in known.values() for row in some)]
    write_star(star, run.path / "quarantine.star")
    run.warn(
        f"half {half}: particles in rows {', '.join(map(str, rows[:5]))} made the loss or its gradient infinite or "
        "NaN; they train nothing any more and are listed in quarantine.star"
    )


def _vanished(path: Path) -> DynaflexError:
    return ResourceError(
        "run.vanished",
        "the run directory was removed or renamed while the run was working in it",
        file=path,
        fix=f"put it back, then {to_resume(path)}",
    )


def _figures(values: dict[str, Any]) -> str:
    """What of an epoch's figures is shown beside the bar; empty for an epoch that has none of them."""
    if not values.keys() >= {"gain", "rms_displacement"}:
        return ""
    return f"gain {values['gain']:.1f} nats, moves {values['rms_displacement']:.2f} Å"
