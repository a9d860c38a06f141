"""Maps of conformations from the particles themselves: what the images around a node show, without any motion in it.

The model only says which particles belong to a node. They are reconstructed as a rigid molecule, each half by itself:
where the map that was carried to the node is right, theirs shows the same, as far as so few particles can.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dynaflex import fourier, tell
from dynaflex.density.contour import level_enclosing
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.io import durable
from dynaflex.io.mrc import read_map, write_map
from dynaflex.palettes import FROM_PARTICLES
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.place import place_of
from dynaflex.products.chimerax.script import Played
from dynaflex.products.states.surroundings import FEWEST, Around, Node, Surroundings
from dynaflex.reconstruct.equations import backproject
from dynaflex.reconstruct.postprocess import merge
from dynaflex.reconstruct.rigid import rigid_equations
from dynaflex.results.trained import images_of
from dynaflex.results.volumes import coarse, map_at_rest
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import FscCurves, fourier_shell_correlation, fsc_curves, resolution_at

TABLE = "particles.csv"
COLUMNS = (
    "node", "particles_half1", "particles_half2", "distance_half1_A", "distance_half2_A",
    "resolution_A", "carried_resolution_A", "carried_correlation", "rest_correlation",
)  # fmt: skip
"""Those of the table."""
_AT_ONCE = 16


@dataclass(frozen=True)
class ParticlesMap:
    """The half-maps ``(d d d)`` of the particles around a node, their FSC within the mask, and both ``merged``."""

    halves: dict[int, Tensor]
    curves: FscCurves
    merged: Tensor

    @property
    def resolution(self) -> float | None:
        """Where the FSC of the half-maps falls below 0.143, in Å; None if it starts below."""
        return self.curves.resolution(0.143)


@dataclass(frozen=True)
class Agreement:
    """A map that was carried to a node, against that of the particles there, within the mask.

    ``resolution`` in Å is where their FSC falls below 0.5, ``correlation`` that of their voxels. ``at_rest`` is the
    correlation of the map that nothing has carried: what the motion is to be better than. For both, maps are
    low-passed to what the particles show.
    """

    resolution: float | None
    correlation: float
    at_rest: float


class FromParticles:
    """Makes the maps of ``nodes`` from the particles ``around`` them on ``grid``, that of the run's maps.

    They are backprojections: of what does not move, that is the least-squares map but for the edges of the box.
    ``inputs`` are those of the run. ``count`` particles of each half are taken, if there are as many; by default as
    many as :meth:`Surroundings.around` takes.
    """

    def __init__(
        self,
        run: Run,
        inputs: Inputs,
        surroundings: Surroundings,
        nodes: Sequence[Node],
        device: torch.device,
        count: int | None = None,
    ) -> None:
        self.at_rest, self.grid = map_at_rest(run, surroundings.halves[1])
        self.around = [surroundings.around(node, count) for node in nodes]
        self.mask = inputs.mask_on(self.grid)
        self.reach, self._halves = surroundings.reach, surroundings.halves
        imaging = inputs.full_imaging.on(self.grid)
        self._images = {number: images_of(half, inputs, imaging, device) for number, half in self._halves.items()}
        self._device = device
        taken = [len(part.index) for around in self.around if not lack(around) for part in around.values()]
        self._done, self._total = 0, sum(taken)

    def maps(self) -> Iterator[ParticlesMap | None]:
        """The map of each node, None where one is in ``lack`` of particles; tells how far all are."""
        for around in self.around:
            if lack(around):
                yield None
                continue
            first, second = (self._map_of(half, part) for half, part in around.items())
            curves = fsc_curves(first, second, self.grid.pixel_size, self.mask)
            yield ParticlesMap({1: first, 2: second}, curves, merge(first, second, curves.corrected))

    def compared(self, carried: Tensor, found: ParticlesMap) -> Agreement:
        """How far a map ``(d d d)`` that was carried to a node shows what its particles show."""
        curve = fourier_shell_correlation(carried, found.merged, self.mask)
        resolution = resolution_at(self.grid.shell_frequencies(), curve, 0.5)
        carried_too, at_rest_too = (self._correlation(one, found) for one in (carried, self.at_rest))
        return Agreement(resolution, carried_too, at_rest_too)

    def _correlation(self, volume: Tensor, found: ParticlesMap) -> float:
        if found.resolution is None:
            return math.nan
        pair = [fourier.low_pass(one, self.grid, found.resolution) for one in (volume, found.merged)]
        return float(torch.corrcoef(torch.stack(pair)[:, self.mask > 0.5])[0, 1])

    def _map_of(self, half: int, around: Around) -> Tensor:
        white = torch.ones(self.grid.n_shells, device=self._device)

        def batches() -> Iterator[Batch]:
            for part in torch.from_numpy(around.index).split(_AT_ONCE):
                yield self._images[half].batch(part)
                self._done += len(part)
                tell.progress("maps from particles", self._done, self._total)

        return backproject(rigid_equations(self.grid, batches, white)).cpu()


def write_from_particles(
    run: Run, made: FromParticles, carried: list[Played], folder: Path
) -> tuple[pd.DataFrame, list[Played]]:
    """Write ``particles_000.mrc ...`` and their half-maps beside the maps that were ``carried``, and ``particles.csv``.

    ``carried`` are series of maps in the folder, one map for each node: one series, or one of each half. The table
    says for each node how many particles of each half it has and their mean distance in Å, and what
    :class:`ParticlesMap` and :class:`Agreement` say. It is returned with the series to be played side by side: carried
    maps and those of particles, of the nodes that have both. Those of particles are noisier: their level is the mean of
    those at which they show as much as the map at rest.
    """
    rows, seen, levels = [], [], []
    filled = coarse(run, made.at_rest, made.grid).filled
    for number, (around, found) in enumerate(zip(made.around, made.maps(), strict=True)):
        agreement = None
        if found is None:
            tell.warn(f"no map of particles at node {number}: {lack(around)} within {made.reach:.3g} Å of it")
        else:
            seen.append(number)
            levels.append(level_enclosing(found.merged * made.mask, filled))
            _write_maps(run, made.grid, found, folder, f"particles_{number:03d}")
            there = np.mean([read_map(folder / series.names[number]).data for series in carried], axis=0)
            agreement = made.compared(torch.from_numpy(there), found)
        rows.append({"node": number, **in_numbers(around, found, agreement)})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    durable.write_text(folder / TABLE, table.to_csv(index=False, float_format="%.4g"))
    if not seen:
        return table, carried
    beside = [replace(series, names=[series.names[number] for number in seen]) for series in carried]
    names = [f"particles_{number:03d}.mrc" for number in seen]
    return table, [*beside, Played(names, float(np.mean(levels)), FROM_PARTICLES)]


def _write_maps(run: Run, grid: Grid, found: ParticlesMap, folder: Path, name: str) -> None:
    for ending, volume in {"": found.merged, "_half1": found.halves[1], "_half2": found.halves[2]}.items():
        write_map(folder / f"{name}{ending}.mrc", volume.numpy(), grid.pixel_size, place_of(run, grid))


def in_numbers(around: dict[int, Around], found: ParticlesMap | None, agreement: Agreement | None) -> dict[str, float]:
    """What is known of a node, by the names of ``COLUMNS``; NaN where there is no such number."""
    counts = {f"particles_half{half}": part.particles for half, part in around.items()}
    means = {f"distance_half{half}_A": part.mean_distance for half, part in around.items()}
    return counts | means | {
        "resolution_A": (found and found.resolution) or math.nan,
        "carried_resolution_A": (agreement and agreement.resolution) or math.nan,
        "carried_correlation": agreement.correlation if agreement else math.nan,
        "rest_correlation": agreement.at_rest if agreement else math.nan,
    }  # fmt: skip


def lack(around: dict[int, Around]) -> str:
    """Which half has too few particles for a map, in words; empty if both have enough."""
    return " and ".join(
        f"half {half} has {part.particles} of the {FEWEST} particles that it takes"
        for half, part in around.items()
        if not part.enough
    )
