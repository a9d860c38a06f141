"""Data sets whose truth is known, and maps compared with it.

Maps are compared with the true conformation that each matches best where its domains move: the origin of the motion is
a free choice of the method.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree

from dynaflex.grid import Grid
from dynaflex.shapes import Array, IntArray, Tensor
from dynaflex.simulation.molecule import BODY, DOMAINS
from dynaflex.simulation.truth import Truth, domain_mask, read_truth, true_volume
from dynaflex.validate.fsc import fourier_shell_correlation
from dynaflex.validate.score import best_matching_state

WHOLE = "whole"


@dataclass(frozen=True)
class Part:
    """A rigid domain of the molecule: its ``index`` and, where it turns about a hinge, the unit vector ``axis``."""

    name: str
    index: int
    axis: Array | None = None


class Scene(Protocol):
    """A data set whose truth is known.

    ``coordinate`` ``(p c)`` is the conformation of every particle. A *state* ``(m)`` has one coordinate per ``moving``
    part, each within ``limits``; ``search`` of its values are tried before the best is refined. ``points`` ``(n 3)``
    in Å are the atoms where nothing has moved, ``domain`` ``(n)`` the index of the part that each belongs to.
    """

    @property
    def grid(self) -> Grid:
        """That of the images."""

    @property
    def coordinate(self) -> Array:
        """Of every particle ``(p c)``."""

    @property
    def moving(self) -> tuple[Part, ...]:
        """The parts that move, one per coordinate of a state."""

    @property
    def still(self) -> Part:
        """The part that does not."""

    @property
    def limits(self) -> tuple[float, float]:
        """Of each coordinate of a state."""

    @property
    def search(self) -> int:
        """How many values of a coordinate are tried."""

    @property
    def points(self) -> Array:
        """The atoms ``(n 3)``."""

    @property
    def domain(self) -> IntArray:
        """Whose atoms they are ``(n)``."""

    def volume(self, state: Array) -> Tensor:
        """The true map ``(d d d)`` of a state."""

    def mask(self, state: Array | None, part: Part | None) -> Tensor:
        """A soft mask ``(d d d)`` around a part, or the molecule, in a state, or in all that the particles take."""

    def owner(self, points: Array) -> IntArray:
        """The part that points ``(n 3)`` belong to where nothing has moved: that of the nearest atom, ``(n)``."""

    def displacement(self, points: Array, owner: IntArray, coordinate: Array) -> Array:
        """How points ``(n 3)`` of these parts move in the conformations ``coordinate`` ``(b c)``, in Å ``(b n 3)``."""


@dataclass(frozen=True)
class SimulatedScene:
    """What ``dynaflex simulate`` made: a molecule whose domains turn about hinges; a state is a conformation."""

    truth: Truth
    search: int = 9

    @classmethod
    def read(cls, path: Path) -> SimulatedScene:
        """The scene of a ``truth.npz``.

        Raises:
            InputError: it is missing, or none.
        """
        return cls(read_truth(path))

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
            Part(_name(rotor.domain), rotor.domain, rotor.axis if rotor.rise == 0.0 else None)
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


def _name(domain: int) -> str:
    return DOMAINS[domain] if domain < len(DOMAINS) else f"arm {domain}"


@dataclass(frozen=True)
class Judge:
    """Compares maps with the truth of a scene."""

    scene: Scene

    def state(self, volume: Tensor) -> Array:
        """The state that a map matches best, found part by part where each part passes."""
        scene = self.scene
        state = np.full(len(scene.moving), sum(scene.limits) / 2.0)
        # Parts may see each other through their masks: a second round corrects for where the others were found.
        for _ in range(1 if len(state) == 1 else 2):
            for column, part in enumerate(scene.moving):
                render = partial(self._render, state.copy(), column)
                swept = scene.mask(None, part)
                state[column] = best_matching_state(volume, render, [scene.limits], swept, scene.search)[0]
        return state

    def curves(self, volume: Tensor) -> dict[str, Tensor]:
        """The FSC ``(s)`` with the best-matching state around every part, and around the whole molecule."""
        state = self.state(volume)
        true = self.scene.volume(state)
        around = {part.name: part for part in (*self.scene.moving, self.scene.still)} | {WHOLE: None}
        return {
            name: fourier_shell_correlation(volume, true, self.scene.mask(state, part)) for name, part in around.items()
        }

    def _render(self, state: Array, column: int, value: Array) -> Tensor:
        state[column] = value[0]
        return self.scene.volume(state)
