"""What of both halves belongs to a conformation of one: the particles around it, and the same conformation in each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dynaflex import tell
from dynaflex.palettes import HALVES
from dynaflex.products.chimerax.script import Played
from dynaflex.products.space import MotionFrame
from dynaflex.results.trained import TrainedHalf, config_of, load_half
from dynaflex.results.volumes import level_at_rest, write_maps
from dynaflex.run.directory import Run
from dynaflex.run.files import particles_shown, read_latents
from dynaflex.shapes import Array, IntArray, Tensor

Node = tuple[TrainedHalf, Tensor]
"""A conformation: the half whose model it is of, and its latents ``(k)``."""

SHARE, FEWEST, MOST = 0.1, 20, 5000
"""The particles around a node are a tenth of each half, but at least 20 and at most 5,000."""
_STAND_IN = 8


@dataclass(frozen=True)
class Around:
    """The particles of a half around a node, nearest first: which of the half's they are, ``index`` ``(n)``, and the
    ``distance`` ``(n)`` of each, in Å of motion. Of tilt series these are images, and all of each of the ``particles``.
    """

    index: IntArray
    distance: Array
    particles: int

    @property
    def mean_distance(self) -> float:
        """In Å; NaN where there are none."""
        return float(self.distance.mean()) if len(self.distance) else math.nan

    @property
    def enough(self) -> bool:
        """True if a map can be made of them."""
        return self.particles >= FEWEST


class Surroundings:
    """Where the particles of both halves lie, in the coordinates of motion that these have in common.

    ``places`` ``(p m)`` by half are those coordinates in Å. ``reach`` in Å is how far the particles lie from their
    mean, rms: what is further away from a node than that has nothing to do with it. ``first`` ``(p)`` by half is the
    first image of the particle that an image shows, in a tilt series; elsewhere each shows its own.

    Raises:
        UsageError: a half has not been trained to its end.
        DamagedCheckpointError: no checkpoint verifies.
    """

    def __init__(self, run: Run) -> None:
        self.halves = {half: load_half(run, half) for half in (1, 2)}
        self._shared = config_of(run).half_sets == "shared"
        shown = dict(zip(read_latents(run).rows.tolist(), particles_shown(run).tolist(), strict=True))
        self.first = {half: _first([shown[row] for row in part.rows.tolist()]) for half, part in self.halves.items()}
        with tell.doing("motion of the particles"):
            self._frame = MotionFrame.of(list(self.halves.values()))
            self.places = {half: self._frame.coordinates(part, part.latents.mean) for half, part in self.halves.items()}
        self.reach = float(np.sqrt(self._frame.axes.variance.sum()))

    def around(self, node: Node, count: int | None = None, close: float = 0.0) -> dict[int, Around]:
        """The nearest particles of each half within :attr:`reach`: ``count``, or else a tenth of the half; and all that
        are no further than ``close`` Å."""
        found = {}
        for half in self.halves:
            wanted = int(np.clip(round(SHARE * self.count(half)), FEWEST, MOST)) if count is None else count
            index, distance = self._nearest(half, node, wanted, close)
            near = distance <= self.reach
            found[half] = Around(index[near], distance[near], self.count(half, index[near]))
        return found

    def count(self, half: int, index: IntArray | None = None) -> int:
        """How many particles all images of a half show, or those at ``index`` ``(q)``."""
        return len(np.unique(self.first[half] if index is None else self.first[half][index]))

    def in_each_half(self, nodes: Iterable[Node]) -> dict[int, list[Node]]:
        """The same conformations by the model of each half.

        A half that was trained apart has latents of its own: the mean of those of its eight particles that are nearest
        by motion stands for the node there.
        """
        listed = list(nodes)
        return {half: [(part, self._latents_in(half, node)) for node in listed] for half, part in self.halves.items()}

    def _latents_in(self, half: int, node: Node) -> Tensor:
        trained, latents = node
        if half == trained.half or self._shared:
            return latents
        index, _ = self._nearest(half, node, _STAND_IN)
        return self.halves[half].latents.mean[torch.from_numpy(index)].mean(dim=0)

    def _nearest(self, half: int, node: Node, count: int, close: float = 0.0) -> tuple[IntArray, Array]:
        trained, latents = node
        first = self.first[half]
        distance = np.linalg.norm(self.places[half] - self._frame.coordinates(trained, latents[None]), axis=1)[first]
        order = np.argsort(distance, kind="stable")
        begins = first[order] == order  # All images of a particle are as far away, and its first comes first.
        index = order[begins.cumsum() <= max(count, int((distance[order] <= close)[begins].sum()))]
        return index, distance[index]


def _first(shown: Sequence[int]) -> IntArray:
    """Where the particle of every place stands first."""
    _, begin, of = np.unique(shown, return_index=True, return_inverse=True)
    return np.asarray(begin[of.reshape(-1)])


def write_each_half(
    run: Run, surroundings: Surroundings, nodes: Sequence[Node], folder: Path, title: str = "maps"
) -> list[Played]:
    """Write ``vol_000_half1.mrc ...`` and those of half 2: each half's own map, carried to the nodes by its own model.

    Returns both series.
    """
    series = []
    for half, own in surroundings.in_each_half(nodes).items():
        names = write_maps(run, own, folder, "half", f"{title}, half {half}", f"_half{half}")
        series.append(Played(names, level_at_rest(run, surroundings.halves[half], "half"), HALVES[half]))
    return series
