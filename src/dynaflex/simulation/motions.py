"""The ways in which a made-up molecule can move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np

from dynaflex.errors import UsageError
from dynaflex.shapes import Array, IntArray
from dynaflex.simulation.molecule import ARM, Molecule
from dynaflex.simulation.names import MotionName

MOTIONS: tuple[MotionName, ...] = get_args(MotionName)
SWING = math.radians(25.0)


@dataclass(frozen=True)
class Rotor:
    """A domain that turns rigidly about the line through ``point`` along ``axis``.

    With ``rise`` > 0 it is twisted instead: the angle grows linearly from 0 at ``point`` to its full value ``rise`` Å
    further along the axis, and stays there.
    """

    domain: int
    point: Array
    axis: Array
    rise: float = 0.0

    def apply(self, points: Array, angle: Array) -> Array:
        """Points ``(n 3)`` turned by ``angle`` ``(b)`` radians, as ``(b n 3)``; every point counts as in the domain."""
        relative = points - self.point
        along = relative @ self.axis
        fraction = np.clip(along / self.rise, 0.0, 1.0) if self.rise > 0.0 else np.ones(len(points))
        theta = angle[:, None] * fraction
        parallel = along[:, None] * self.axis
        across = relative - parallel
        turned = np.cos(theta)[..., None] * across + np.sin(theta)[..., None] * np.cross(self.axis, across)
        return np.asarray(self.point + parallel + turned)


@dataclass(frozen=True)
class Motion:
    """How the molecule moves: one coordinate, an angle in radians, per rotor. Without rotors it is rigid, and its one
    coordinate is always zero."""

    name: str
    rotors: tuple[Rotor, ...]
    swing: float = SWING

    @property
    def n_coordinates(self) -> int:
        """The number of coordinates of a conformation."""
        return max(len(self.rotors), 1)

    def sample(self, n: int, generator: np.random.Generator) -> Array:
        """Coordinates of ``n`` random conformations, uniform in plus or minus ``swing``, ``(n c)``."""
        limit = self.swing if self.rotors else 0.0
        return generator.uniform(-limit, limit, (n, self.n_coordinates))

    def displace(self, points: Array, domain: IntArray, coordinate: Array) -> Array:
        """Where ``points`` ``(n 3)`` of the given ``domain`` ``(n)`` are in the conformations ``coordinate``.

        ``coordinate`` is ``(c)`` for one conformation, giving ``(n 3)``, or ``(b c)``, giving ``(b n 3)``. Coordinate 0
        is the conformation in which the molecule was built.
        """
        several = np.atleast_2d(coordinate)
        moved = np.repeat(points[None].astype(np.float64), len(several), axis=0)
        for column, rotor in enumerate(self.rotors):
            inside = domain == rotor.domain
            moved[:, inside] = rotor.apply(points[inside], several[:, column])
        return moved if coordinate.ndim == 2 else moved[0]


def _of_units(name: str, molecule: Molecule) -> Motion:
    if name not in ("hinge", "none"):
        raise UsageError(
            "simulate.symmetry", "units of a symmetric assembly do not move like this", field="--motion",
            expected="hinge | none", found=name, fix="--motion hinge, or leave out --symmetry",
        )  # fmt: skip
    hinges = tuple(Rotor(ARM + k, joint.point, joint.axis) for k, joint in enumerate(molecule.joints))
    return Motion(name, hinges if name == "hinge" else ())


def make_motion(name: str, molecule: Molecule) -> Motion:
    """The motion of the given name, one of ``MOTIONS``.

    ``hinge``: the arm turns about its hinge. ``two-hinge``: arm and lobe turn independently. ``touching``: two arms
    that lie side by side turn independently, so that they shear along each other. ``five``: five arms around the body
    turn independently. The molecule must be one that was made for either of these. ``twist``: the arm is twisted about
    its own long axis, more the further from the body. ``none``: nothing moves. In a symmetric assembly the arm of every
    unit turns about its hinge for itself, or nothing moves.

    Raises UsageError ``simulate.unknown-motion``, or ``simulate.symmetry`` for another motion of an assembly.
    """
    if molecule.symmetry != "C1":
        return _of_units(name, molecule)
    arm = molecule.arm
    hinges = tuple(Rotor(domain, joint.point, joint.axis) for domain, joint in enumerate(molecule.joints, ARM))
    match name:
        case "hinge":
            return Motion(name, hinges[:1])
        case "two-hinge" | "touching" | "five":
            return Motion(name, hinges)
        case "twist":
            return Motion(name, (Rotor(ARM, arm.point, arm.along, rise=arm.length),), swing=2.0 * SWING)
        case "none":
            return Motion(name, ())
    raise UsageError(
        "simulate.unknown-motion", "there is no such motion", field="--motion", expected=" | ".join(MOTIONS), found=name
    )
