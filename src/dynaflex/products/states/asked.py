"""Which state a person asks for: one thing of several that can be said, and what a file of particles means."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynaflex import tell
from dynaflex.errors import UsageError
from dynaflex.io.arrays import read_vectors
from dynaflex.prepare.before_training import require_shareable
from dynaflex.prepare.memory import ready
from dynaflex.prepare.paths import AUTO
from dynaflex.products.names import K_MEANS, STATES
from dynaflex.products.selection import in_cluster
from dynaflex.products.states.chosen import Chosen, around
from dynaflex.products.states.named import rows_named
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.products.states.written import make_state
from dynaflex.results.half_maps.made import Recipe
from dynaflex.results.reopen import Moved, reopened
from dynaflex.run.directory import Run
from dynaflex.run.files import read_latents
from dynaflex.run.stop import Stop
from dynaflex.shapes import FloatArray, IntArray
from dynaflex.workers.crew import Crew
from dynaflex.workers.halves import Halves

Place = list[float] | tuple[Path, int] | FloatArray
"""Latents ``(k)``, or a row, from 0, of a file of them."""


@dataclass(frozen=True)
class Asked:
    """A ``cluster`` of a ``kind`` in a folder of ``analysis``, the ``nearest`` particles around a ``place`` in the
    latent space of a ``half``, or ``rows`` of the input table: one of them. A ``name`` is that of the file it is from.
    """

    cluster: int | None = None
    kind: str = K_MEANS
    analysis: Path = Path()
    place: Place | None = None
    half: int = 1
    nearest: int | None = None
    rows: IntArray | None = None
    name: str = ""

    def understood(self, run: Run, particles: Path | None) -> tuple[Asked | None, Path | None]:
        """What is asked of a run, None if it is the whole of it, and where the run's table is now, if ``particles``
        say that.

        A file of ``particles`` with every row of the run is its own table, which may have moved; one with some of the
        rows is a state. What was understood is told.

        Raises:
            UsageError: several states are said, or what belongs to one that is not.
            InputError: the file is neither; see :func:`rows_named`.
        """
        rows = self.rows if particles is None else rows_named(run, particles)
        table = particles if rows is None else None
        said = [one for one in (self.cluster, self.place, rows) if one is not None]
        if len(said) > 1:
            raise UsageError(
                "state.several", "these are several states", expected="one of --cluster --around --particles",
                fix="give one command for each",
            )  # fmt: skip
        if self.nearest is not None and self.place is None:
            raise UsageError(
                "state.nearest", "--nearest says how many particles are taken around a place in latent space",
                fix="add --around, or leave out --nearest",
            )  # fmt: skip
        if particles is not None:
            _tell_of(particles, rows)
        if not said:
            return None, table
        name = self.name if particles is None else particles.stem
        if isinstance(self.place, tuple):
            name = f"{self.place[0].stem}_{self.place[1]}"
        place = None if self.place is None else _latents(run, self.place)
        return replace(self, place=place, rows=rows, name=name), table

    def chosen(self, run: Run, both: Surroundings) -> Chosen:
        """The particles that are meant, once that is :meth:`understood`.

        Errors as :func:`in_cluster` and :func:`around`.
        """
        if self.place is not None:
            assert isinstance(self.place, np.ndarray)
            found = around(run, both, self.place, self.half, self.nearest)
            return replace(found, name=self.name or found.name)
        if self.cluster is not None:
            rows = np.sort(in_cluster(run, self.analysis, self.kind, self.cluster))
            return Chosen(
                f"{self.kind}{self.cluster}", f"cluster {self.cluster} ({self.kind}) of {self.analysis}", rows
            )
        assert self.rows is not None
        found = Chosen(
            self.name, f"the particles of {self.name}" if self.name else "particles by their rows", self.rows
        )
        return found if self.name else replace(found, name=f"rows_{found.digest[:8]}")


def reconstruct_state(
    run: Run,
    asked: Asked,
    moved: Moved,
    recipe: Recipe,
    out: Path | None,
    device: torch.device,
    stop: Stop,
    cache: str = AUTO,
    crew: Crew | None = None,
) -> tuple[dict[str, Any], Path]:
    """Make the maps of a state, in ``out`` or else in the run, which is then held meanwhile; returns what they are, and
    where. Inputs that have ``moved`` are compared with those of the start. Images are read from a ``cache`` that is
    there; none is made for a few particles. A ``crew`` works on it where there is one.

    Raises:
        InputError, DamagedCheckpointError: as :func:`reopened`; else as :meth:`Asked.chosen` and :func:`make_state`.
    """
    inputs, both = ready(cache, run, reopened(run, moved), make=False), Surroundings(run)
    require_shareable(inputs, crew is not None)
    chosen = asked.chosen(run, both)
    folder = run.path / STATES / chosen.name if out is None else out
    with run.locked() if out is None else nullcontext(), Halves(run, stop, device, crew) as halves:
        return make_state(run, inputs, both, chosen, folder, device, halves.each, recipe), folder


def _tell_of(path: Path, rows: IntArray | None) -> None:
    if rows is None:
        tell.say(f"{path} has every row of the run: it is taken as the run's own table, where it is now")
    else:
        tell.say(f"{path} has {len(rows)} of the run's rows: the maps are those of this state")


def _latents(run: Run, place: Place) -> FloatArray:
    count = read_latents(run).mean.shape[1]
    if not isinstance(place, tuple):
        values = np.asarray(place, np.float32)
        if values.shape != (count,) or not np.isfinite(values).all():
            raise UsageError(
                "state.latents", "this is no place in the latent space of the run",
                field="--around", expected=f"{count} numbers, one for each latent", found=f"{values.size} of them",
                fix="give all of them, or a row of a file of latents: --around RUN/analysis/dense/path.npy:4",
            )  # fmt: skip
        return values
    path, row = place
    vectors = read_vectors(path, count)
    if not 0 <= row < len(vectors):
        raise UsageError(
            "state.no-such-row", "this file has no such row", file=path, expected=f"0 to {len(vectors) - 1}", found=row
        )
    return vectors[row]
