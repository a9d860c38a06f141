"""States: particles that are taken to be in about one conformation, and the conformation in their middle."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch

from dynaflex import tell
from dynaflex.data.columns import particle_block
from dynaflex.errors import InputError, UsageError
from dynaflex.prepare.inputs import Inputs
from dynaflex.products.states.surroundings import FEWEST, Surroundings
from dynaflex.results.alignment import mean_conformation
from dynaflex.results.half_maps.made import Part
from dynaflex.results.trained import config_of
from dynaflex.run.directory import Run
from dynaflex.run.files import read_motion, read_table
from dynaflex.shapes import Array, FloatArray, IntArray, Tensor


@dataclass(frozen=True)
class Chosen:
    """Particles in the ``rows`` ``(q)`` of the input table, ``what`` they are in words, and a ``name`` for a folder."""

    name: str
    what: str
    rows: IntArray

    @property
    def digest(self) -> str:
        """Tells them from all others."""
        return hashlib.sha256(np.unique(self.rows).astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class State:
    """How many particles of each half, ``counts``, and its ``parts`` by half: with the conformation in their middle.

    Parts hold images, of which a particle in a tilt series has several. ``distance`` ``(q)`` by half is how far each is
    from the mean of those of its half, and ``apart`` how far these two means are from each other, in Å of motion, rms
    over the molecule.
    """

    counts: dict[int, int]
    parts: dict[int, Part]
    distance: dict[int, Array]
    apart: float

    @property
    def images(self) -> dict[int, int]:
        """How many images of each half."""
        return {half: len(part.index) for half, part in self.parts.items()}

    @property
    def everyone(self) -> Array:
        """The distances of all."""
        return np.concatenate(list(self.distance.values()))


def around(run: Run, both: Surroundings, latents: FloatArray, half: int = 1, nearest: int | None = None) -> Chosen:
    """The particles around the conformation ``latents`` ``(k)`` of the model of a half, ``nearest`` of each half.

    By default a tenth of each half, and all others that cannot be told from that conformation: they are no further from
    it than displacements of a particle err. A narrower choice is noisier and no purer.
    """
    z = torch.from_numpy(latents)
    found = both.around((both.halves[half], z), nearest, 0.0 if nearest else particle_error(run))
    rows = [both.halves[number].rows.numpy()[part.index] for number, part in found.items()]
    furthest = max((float(part.distance.max()) for part in found.values() if len(part.distance)), default=math.nan)
    numbers = [f"{value:.3g}" for value in latents]
    what = f"particles within {furthest:.2g} Å of motion of ({', '.join(numbers)}) of half {half}"
    return Chosen(f"around_{'_'.join(numbers)}", what, np.sort(np.concatenate(rows)))


def particle_error(run: Run) -> float:
    """How far the displacements of a particle err, rms over points and particles in Å; 0 where nothing tells."""
    known = read_motion(run).particle_error
    known = known[np.isfinite(known)]
    return float(np.sqrt(np.square(known).mean())) if len(known) else 0.0


def state_of(run: Run, both: Surroundings, chosen: Chosen) -> State:
    """The particles that are chosen, by half, and the conformation in their middle by the model of each half.

    Halves that were trained apart find it each from its own particles, as they do for the maps of the whole run; one
    shared model finds one for both.

    Raises:
        InputError: a row is not in the table.
        UsageError: a half has fewer than 20 particles.
    """
    star = read_table(run)
    total = len(star.blocks[particle_block(star)])
    if len(chosen.rows) and chosen.rows.max() >= total:
        raise InputError(
            "select.beyond", "there is no such row in the particle table", file=run.path,
            expected=f"0 to {total - 1}", found=int(chosen.rows.max()), fix="count the rows from 0",
        )  # fmt: skip
    index = {half: np.flatnonzero(np.isin(part.rows.numpy(), chosen.rows)) for half, part in both.halves.items()}
    used = sum(map(len, index.values()))
    if used < len(np.unique(chosen.rows)):
        tell.warn(f"{len(np.unique(chosen.rows)) - used} of these particles were not used by the run, and are left out")
    counts = {half: both.count(half, mine) for half, mine in index.items()}
    few = [f"half {half} has {count}" for half, count in counts.items() if count < FEWEST]
    if few:
        raise UsageError(
            "state.too-few", f"{chosen.what}: too few for half-maps", file=run.path,
            expected=f"at least {FEWEST} of each half", found=" and ".join(few),
            fix="take more particles: --nearest, fewer clusters, or a wider selection",
        )  # fmt: skip
    mean = {half: both.places[half][mine].mean(axis=0) for half, mine in index.items()}
    distance = {half: np.linalg.norm(both.places[half][mine] - mean[half], axis=1) for half, mine in index.items()}
    where = {half: torch.from_numpy(mine) for half, mine in index.items()}
    with tell.doing("the conformation in the middle"):
        origin = _middle(run, both, where)
    parts = {half: Part(mine, origin[half]) for half, mine in where.items()}
    return State(counts, parts, distance, float(np.linalg.norm(mean[1] - mean[2])))


def views_needed(inputs: Inputs) -> int:
    """How many views a half-map takes to have no gaps at Nyquist, for a particle of this size (Crowther): pi D / d."""
    imaging = inputs.full_imaging
    return math.ceil(math.pi * imaging.diameter * imaging.grid.nyquist)


def _middle(run: Run, both: Surroundings, index: dict[int, Tensor]) -> dict[int, Tensor]:
    latents = {half: both.halves[half].latents.mean[mine] for half, mine in index.items()}
    if config_of(run).half_sets == "shared":
        found = mean_conformation(both.halves[1], torch.cat(list(latents.values())))
        return dict.fromkeys(latents, found)
    return {half: mean_conformation(both.halves[half], mine) for half, mine in latents.items()}
