"""A run before its latents are found: what its newest checkpoints hold, how far it is, and how it goes on."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from dynaflex.data.columns import particle_block
from dynaflex.errors import UsageError
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.table import LatentTable
from dynaflex.results.trained import TrainedHalf, config_of, method_of, noise_in
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import FSC, LATENTS, ParticleLatents, read_grids, read_table
from dynaflex.run.metrics import METRICS
from dynaflex.run.refusals import to_resume
from dynaflex.run.watched import state_of
from dynaflex.shapes import IntArray
from dynaflex.training.checkpoint import fill, model_state
from dynaflex.viewer.answers.under_way import is_at_work

_LAST_LINES = 1 << 16


class Training:
    """The training of a run, as far as it is on disk. A table of latents is there at any time; an encoder's are not."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._members = lru_cache(maxsize=1)(self._read_members)

    def state(self) -> tuple[str, ...]:
        """Changes with every checkpoint; empty before the first."""
        return tuple(name for half in (0, 1, 2) for name in self._newest(half))

    def halves(self) -> dict[int, TrainedHalf]:
        """The models of the halves that have been begun, with the latents of their particles.

        Raises:
            UsageError: there is no checkpoint yet, or it holds no latents.
            DamagedCheckpointError: no checkpoint verifies.
        """
        begun = [half for half in config_of(self.run).trained_halves if self._newest(half)]
        if not begun:
            raise UsageError("view.no-latents", "this run has no latents yet", fix="wait for its first checkpoint")
        trained = [self._load(half) for half in begun]
        return {half.half: half for halves in trained for half in halves}

    def told(self) -> dict[str, Any]:
        """How far the run is: whether it is ``working``, how many ``epochs`` are planned of each half (None if that is
        not known yet), whether its latents are ``found``, and how it is to be ``resumed`` if it stopped."""
        working, found = is_at_work(self.run), self.run.files.has(LATENTS)
        done = found and self.run.files.has(FSC)
        resumed = None if working or done else to_resume(self.run.path.resolve())
        return {"working": working, "epochs": self._planned(), "found": found, "resumed": resumed}

    def _newest(self, half: int) -> list[str]:
        """The name of the newest checkpoint of a half, if there is one."""
        return [path.name for path in self.run.store.series(f"half{half}")[-1:]]

    def _load(self, half: int) -> list[TrainedHalf]:
        """The halves that the model of ``half`` was trained on: one, or both of 0."""
        tensors, _ = self.run.require_checkpoint(f"half{half}")
        state = model_state(tensors)
        rows, halves = self._members(state_of(self.run.path / "particles.star"))
        mine = halves == half if half else np.ones(len(rows), dtype=bool)
        config = config_of(self.run)
        model = method_of(self.run).empty_model(state, int(mine.sum()), read_grids(self.run).train, config)
        if not isinstance(model.latents, LatentTable):
            raise UsageError(
                "view.no-latents", "an encoder's latents are found when it is trained", fix="wait until it is"
            )
        fill(model, state, self.run)
        model.requires_grad_(False)
        every = torch.arange(int(mine.sum()))
        posterior = model.latents.posterior_of(every)
        unknown = torch.full((len(every),), torch.nan)
        found = []
        for name in (half,) if half else (1, 2):
            own = torch.from_numpy(halves[mine] == name)
            part = Posterior(posterior.mean[own], posterior.log_scale[own])
            own_rows = torch.from_numpy(rows[mine])[own]
            noise, missing = tensors["progress.noise_power"], unknown[own]
            given = (part, noise, missing, missing, missing, None, noise_in(tensors))
            found.append(TrainedHalf(name, model, own_rows, *given))
        return found

    def _read_members(self, _version: object) -> tuple[IntArray, IntArray]:
        """The rows of the particles in use and the half of each, ``(p)``."""
        star = read_table(self.run)
        halves = star.blocks[particle_block(star)]["rlnRandomSubset"].astype(int).to_numpy(dtype=np.int64)
        excluded = [item["row"] for item in self.run.read_json(PROVENANCE)["counts"]["excluded"]]
        rows = np.setdiff1d(np.arange(len(halves)), np.array(excluded, dtype=np.int64))
        return rows, halves[rows]

    def _planned(self) -> int | None:
        """The newest that the training has said: it may go on beyond its first plan."""
        planned = config_of(self.run).epochs
        if planned is not None:
            return planned
        try:
            with (self.run.path / METRICS).open("rb") as stream:
                stream.seek(max(stream.seek(0, os.SEEK_END) - _LAST_LINES, 0))
                lines = stream.read().splitlines()
        except OSError:
            return None
        return next(filter(None, map(_epochs_of, reversed(lines))), None)


def latents_of(halves: dict[int, TrainedHalf]) -> ParticleLatents:
    """The latents of all particles of some halves, in the order of their rows."""
    rows = np.concatenate([half.rows.numpy() for half in halves.values()])
    order = np.argsort(rows, kind="stable")
    mean = np.concatenate([half.latents.mean.numpy() for half in halves.values()])[order]
    scale = np.concatenate([half.latents.log_scale.exp().numpy() for half in halves.values()])[order]
    half = np.concatenate([np.full(len(part.rows), part.half, dtype=np.int64) for part in halves.values()])[order]
    return ParticleLatents(rows[order], half, mean, scale)


def _epochs_of(line: bytes) -> int | None:
    """How many epochs a line of the metrics says there will be; None if it does not, or is cut."""
    try:
        return int(json.loads(line)["epochs"])
    except (ValueError, KeyError, TypeError):
        return None
