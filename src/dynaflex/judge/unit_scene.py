"""A symmetric assembly whose truth is known, as a run with its symmetry sees it: one unit of every copy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from dynaflex.grid import Grid
from dynaflex.judge.scene import Part
from dynaflex.rotations import point_group
from dynaflex.shapes import Array, BoolArray, IntArray, Tensor
from dynaflex.simulation.molecule import BODY, DOMAINS
from dynaflex.simulation.truth import Truth, mask_around, true_volume

_BODY, _ARM = Part(DOMAINS[BODY], 0), 1


@dataclass(frozen=True)
class UnitScene:
    """The unit that lies where the weights ``unit`` ``(d d d)`` of a run are; a state is the angle of its arm.

    Rows are those of the expanded table: particle ``i``, turned by operation ``k`` of g, is row ``g i + k``, and shows
    there the unit that this operation puts in its place. In the maps of a run every unit is in one state.
    """

    truth: Truth
    unit: Tensor
    search: int = 9

    @cached_property
    def which(self) -> int:
        """The number of the unit in the truth, from 0."""
        grid = Grid(self.unit.shape[-1], self.truth.grid.width / self.unit.shape[-1])
        voxel = np.rint(self.truth.points / grid.pixel_size).astype(np.int64) + grid.center
        x, y, z = voxel.clip(0, grid.box - 1).T
        weight = self.unit.numpy()[z, y, x]
        return int(weight.reshape(len(self.group), -1).mean(axis=1).argmax())

    @cached_property
    def group(self) -> Array:
        """The rotations of the assembly ``(g 3 3)``."""
        return point_group(self.truth.symmetry).numpy()

    @property
    def grid(self) -> Grid:
        """That of the images."""
        return self.truth.grid

    @cached_property
    def coordinate(self) -> Array:
        """The angle of the unit's arm in every copy, in radians ``(g p 1)``."""
        shown = self.group @ self.group[self.which]
        difference = np.abs(shown[:, None] - self.group).max(axis=(2, 3))
        return np.asarray(self.truth.coordinate[:, difference.argmin(axis=1)].reshape(-1, 1))

    @property
    def moving(self) -> tuple[Part, ...]:
        """The arm, where anything moves."""
        rotors = self.truth.motion.rotors
        return (Part(DOMAINS[_ARM], _ARM, rotors[self.which].axis),) if rotors else ()

    @property
    def still(self) -> Part:
        """The body."""
        return _BODY

    @property
    def limits(self) -> tuple[float, float]:
        """Plus or minus the swing."""
        return -self.truth.motion.swing, self.truth.motion.swing

    @property
    def points(self) -> Array:
        """The atoms of the unit at coordinate 0."""
        return self.truth.points[self._mine]

    @property
    def domain(self) -> IntArray:
        """0 for the body, 1 for the arm."""
        return np.minimum(self.truth.domain[self._mine], _ARM)

    def volume(self, state: Array) -> Tensor:
        """The true map with all units in one state."""
        return true_volume(self.truth, self._alike(state), self.grid)

    def mask(self, state: Array | None, part: Part | None) -> Tensor:
        """The soft mask of the arms or the bodies of all units."""
        limits = np.linspace(*self.limits, 2 * self.search) if state is None else state
        atoms = np.stack([
            self.truth.motion.displace(self.truth.points, self.truth.domain, self._alike(np.array([angle])))
            for angle in limits
        ])  # fmt: skip
        chosen = slice(None) if part is None else np.minimum(self.truth.domain, _ARM) == part.index
        return mask_around(atoms[:, chosen].reshape(-1, 3), self.grid)

    def owner(self, points: Array) -> IntArray:
        """Body or arm, whichever has the nearest atom of the unit."""
        return np.asarray(self.domain[cKDTree(self.points).query(points)[1]])

    def displacement(self, points: Array, owner: IntArray, coordinate: Array) -> Array:
        """Points of the arm turn with it."""
        moved = np.repeat(points[None].astype(np.float64), len(coordinate), axis=0)
        if self.truth.motion.rotors:
            arm = owner == _ARM
            moved[:, arm] = self.truth.motion.rotors[self.which].apply(points[arm], coordinate[:, 0])
        return np.asarray(moved - points)

    @property
    def _mine(self) -> BoolArray:
        count = len(self.truth.points)
        return np.arange(count) // (count // len(self.group)) == self.which

    def _alike(self, state: Array) -> Array:
        return np.full(self.truth.motion.n_coordinates, state[0] if len(state) else 0.0)
