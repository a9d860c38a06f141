"""The data sets of `dynaflex simulate`, as the judge sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from judge import Part, dynaflex
from scipy.spatial import cKDTree

from dynaflex.grid import Grid
from dynaflex.shapes import Array, IntArray, Tensor
from dynaflex.simulate.molecule import BODY, DOMAINS
from dynaflex.simulate.truth import Truth, domain_mask, read_truth, true_volume

PARTICLES = 5000


@dataclass(frozen=True)
class SimulatedScene:
    """A molecule whose domains turn about hinges; a state is a conformation."""

    truth: Truth
    search: int = 9

    @property
    def grid(self) -> Grid:
        """That of the images."""
        return self.truth.grid

    @property
    def coordinate(self) -> Array:
        """The angles of every particle in radians ``(p c)``."""
        return self.truth.coordinate

    @property
    def moving(self) -> tuple[Part, ...]:
        """One domain per coordinate."""
        return tuple(
            Part(DOMAINS[rotor.domain], rotor.domain, rotor.axis if rotor.rise == 0.0 else None)
            for rotor in self.truth.motion.rotors
        )

    @property
    def still(self) -> Part:
        """The body."""
        return Part(DOMAINS[BODY], BODY)

    @property
    def limits(self) -> tuple[float, float]:
        """Plus or minus the swing."""
        return -self.truth.motion.swing, self.truth.motion.swing

    @property
    def points(self) -> Array:
        """The atoms at coordinate 0."""
        return self.truth.points

    @property
    def domain(self) -> IntArray:
        """The domain of each atom."""
        return self.truth.domain

    def volume(self, state: Array) -> Tensor:
        """The true map of a conformation."""
        return true_volume(self.truth, state, self.grid)

    def mask(self, state: Array | None, part: Part | None) -> Tensor:
        """The soft mask of a domain."""
        return domain_mask(self.truth, state, self.grid, None if part is None else part.index)

    def owner(self, points: Array) -> IntArray:
        """The domain of the nearest atom."""
        return np.asarray(self.truth.domain[cKDTree(self.truth.points).query(points)[1]])

    def displacement(self, points: Array, owner: IntArray, coordinate: Array) -> Array:
        """Points move with their domain."""
        return np.asarray(self.truth.motion.displace(points, owner, coordinate) - points)


def scene_of(data: Path) -> SimulatedScene:
    """The scene of a folder that ``dynaflex simulate`` wrote."""
    return SimulatedScene(read_truth(data / "truth.npz"))


def simulated(out: Path, motion: str) -> Path:
    """The data set that methods are judged on: 5,000 particles, box 64, SNR 0.1."""
    dynaflex("simulate", out, "--particles", PARTICLES, "--box", 64, "--snr", 0.1, "--motion", motion)
    return out
