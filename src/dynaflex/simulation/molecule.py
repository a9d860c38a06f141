"""A made-up flexible molecule: a body, an arm and a lobe of C-alpha-like atoms, and the ways it can move.

The lobe is a shorter arm on the far side of the body. Where two arms shall touch it is the equal of the arm, and both
lie side by side: the halves of one ellipsoid that is cut along its length. They turn about axes across the cut, like
the blades of scissors, so that they shear along each other and never collide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np

from dynaflex.errors import UsageError
from dynaflex.shapes import Array, BoolArray, IntArray
from dynaflex.simulation.names import MotionName

DOMAINS = ("body", "arm", "lobe")
BODY, ARM, LOBE = range(3)
MOTIONS: tuple[MotionName, ...] = get_args(MotionName)

ATOMS = (300, 180, 120)
SEMI_AXES = ((24.0, 21.0, 19.2), (30.0, 16.2, 11.9), (17.5, 15.5, 14.3))
"""Per domain, in Å: ellipsoids of 135 Å³ per residue. End to end the molecule measures about 130 Å."""
BLADE_ATOMS = 150
BLADE_SEMI_AXES = (30.0, 17.0, 20.5)
"""Of the ellipsoid that two touching arms share, in Å; it is cut across the last."""
CUT = 2.0
"""Width in Å of the cut between two touching arms, from atom centre to atom centre."""
ROOT = 2.0
"""How deep in Å two touching arms, thin at their tip, are rooted in the body."""
REFERENCE_WIDTH = 192.0
LARGEST_SCALE = 1.5
SMALLEST_WIDTH = 64.0

CHAIN_STEP = 3.8
SHORTEST_DISTANCE = 3.5
LINKER = 1.5
"""Ångström between the surface of the body and the hinge of a domain."""
SWING = math.radians(25.0)


@dataclass(frozen=True)
class Joint:
    """Where a domain is attached: the ``point`` (x, y, z) in Å, the unit ``axis`` of its hinge and the unit vector
    ``along`` the domain, away from the body, over its ``length`` in Å."""

    point: Array
    axis: Array
    along: Array
    length: float


@dataclass(frozen=True)
class Molecule:
    """Atoms ``points`` ``(n 3)`` in Å around the origin, the ``domain`` ``(n)`` of each, the joints of arm and lobe."""

    points: Array
    domain: IntArray
    arm: Joint
    lobe: Joint


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


def make_motion(name: str, molecule: Molecule) -> Motion:
    """The motion of the given name, one of ``MOTIONS``.

    ``hinge``: the arm turns about its hinge. ``two-hinge``: arm and lobe turn independently. ``touching``: two arms
    that lie side by side turn independently, so that they shear along each other; the molecule must be one that was
    made for it. ``twist``: the arm is twisted about its own long axis, more the further from the body. ``none``:
    nothing moves.

    Raises UsageError ``simulate.unknown-motion``.
    """
    arm, lobe = molecule.arm, molecule.lobe
    hinge = Rotor(ARM, arm.point, arm.axis)
    match name:
        case "hinge":
            return Motion(name, (hinge,))
        case "two-hinge" | "touching":
            return Motion(name, (hinge, Rotor(LOBE, lobe.point, lobe.axis)))
        case "twist":
            return Motion(name, (Rotor(ARM, arm.point, arm.along, rise=arm.length),), swing=2.0 * SWING)
        case "none":
            return Motion(name, ())
    raise UsageError(
        "simulate.unknown-motion", "there is no such motion", field="--motion", expected=" | ".join(MOTIONS), found=name
    )


def make_molecule(width: float, seed: int, motion: str = "hinge") -> Molecule:
    """A molecule that suits a box ``width`` Å wide: of protein density, with atoms at least 3.5 Å apart in each domain.

    At 192 Å it has 600 atoms and is about 130 Å long; both scale with the box, up to 1.5 times that length. The same
    ``seed`` always gives the same atoms. Its arms lie side by side for the ``motion`` "touching"; all others are
    motions of one molecule.

    Raises UsageError ``simulate.box-too-small`` below 64 Å, where too few atoms would be left.
    """
    if width < SMALLEST_WIDTH:
        raise UsageError(
            "simulate.box-too-small",
            "the box is too small for a molecule with domains",
            field="--box times --pixel-size",
            expected=f"at least {SMALLEST_WIDTH:g} Å",
            found=f"{width:g} Å",
            fix="choose a larger --box or --pixel-size",
        )
    scale = min(width / REFERENCE_WIDTH, LARGEST_SCALE)
    generator = np.random.default_rng([seed, 0])
    body = _Ellipsoid(np.zeros(3), np.eye(3), scale * np.array(SEMI_AXES[BODY]))
    placed = _fill(body, _count(ATOMS[BODY], scale), generator)
    domain = [np.full(len(placed), BODY)]
    joints = []
    for index, limb in zip((ARM, LOBE), _side_by_side(scale) if motion == "touching" else _apart(scale), strict=True):
        atoms = _fill(limb.shape, _count(limb.atoms, scale), generator, placed, limb.root)
        placed = np.concatenate([placed, atoms])
        domain.append(np.full(len(atoms), index))
        joints.append(limb.joint)
    center = (placed.max(axis=0) + placed.min(axis=0)) / 2.0
    arm, lobe = (Joint(joint.point - center, joint.axis, joint.along, joint.length) for joint in joints)
    return Molecule(placed - center, np.concatenate(domain).astype(np.int64), arm, lobe)


@dataclass(frozen=True)
class _Ellipsoid:
    """``frame`` ``(3 3)`` holds the directions of the axes; only what lies beyond ``cut`` along the last is kept."""

    center: Array
    frame: Array
    semi_axes: Array
    cut: float = -math.inf

    def contains(self, points: Array) -> BoolArray:
        local = (points - self.center) @ self.frame.T
        return np.asarray((np.square(local / self.semi_axes).sum(axis=-1) <= 1.0) & (local[..., 2] >= self.cut))

    def sample(self, n: int, generator: np.random.Generator) -> Array:
        """``n`` points uniform in the bounding box of the whole ellipsoid."""
        return np.asarray(self.center + generator.uniform(-1.0, 1.0, (n, 3)) * self.semi_axes @ self.frame)


@dataclass(frozen=True)
class _Limb:
    """A domain beside the body: where its ``atoms``, counted at 192 Å, are and where it is attached.

    The first atom is as near to ``root`` as it can be, or anywhere.
    """

    shape: _Ellipsoid
    atoms: int
    joint: Joint
    root: Array | None = None


def _apart(scale: float) -> tuple[_Limb, _Limb]:
    """The arm, and the lobe on the far side of the body."""
    along, side = _directions()
    back = _unit(-along * math.cos(0.9) + side * math.sin(0.9))
    return _attach(ARM, along, scale), _attach(LOBE, back, scale)


def _attach(domain: int, along: Array, scale: float) -> _Limb:
    """A domain whose tip touches the body in the direction ``along``."""
    semi_axes = scale * np.array(SEMI_AXES[domain])
    surface = scale / math.sqrt(np.square(along / np.array(SEMI_AXES[BODY])).sum())
    axis = _unit(np.cross(along, [0.2, -0.5, 0.8]))
    frame = np.stack([along, axis, np.cross(along, axis)])
    point = along * (surface + LINKER)
    shape = _Ellipsoid(point + along * semi_axes[0], frame, semi_axes)
    return _Limb(shape, ATOMS[domain], Joint(point, axis, along, 2.0 * float(semi_axes[0])))


def _side_by_side(scale: float) -> tuple[_Limb, _Limb]:
    """The two halves of an ellipsoid whose tip is rooted in the body, hinged at that tip."""
    along, across = _directions()
    semi_axes = scale * np.array(BLADE_SEMI_AXES)
    body = scale * np.array(SEMI_AXES[BODY])
    # Where the surface of the body faces along: both halves come equally close to it.
    point = np.square(body) * along / np.linalg.norm(body * along) - along * ROOT

    def blade(side: float) -> _Limb:
        frame = np.stack([along, np.cross(along, side * across), side * across])
        shape = _Ellipsoid(point + along * semi_axes[0], frame, semi_axes, CUT / 2.0)
        return _Limb(shape, BLADE_ATOMS, Joint(point, across, along, 2.0 * float(semi_axes[0])), root=point)

    return blade(1.0), blade(-1.0)


def _directions() -> tuple[Array, Array]:
    """The direction from the body to the arm and one at a right angle to it."""
    along = _unit(np.array([0.80, 0.50, 0.33]))
    return along, _unit(np.cross(along, [0.0, 0.0, 1.0]))


def _count(atoms: int, scale: float) -> int:
    return max(round(atoms * scale**3), 4)


def _fill(
    shape: _Ellipsoid,
    n: int,
    generator: np.random.Generator,
    others: Array | None = None,
    root: Array | None = None,
) -> Array:
    """``n`` atoms in a shape, in chain order: a self-avoiding walk that starts elsewhere where it is caught."""
    start = 0 if others is None else len(others)
    atoms = np.empty((start + n, 3))
    atoms[:start] = others if others is not None else 0.0
    for i in range(start, start + n):
        step = _unit(generator.normal(size=(24, 3))) * CHAIN_STEP
        candidates = atoms[i - 1] + step if i > start else _first(shape, generator, root)
        free = _free(candidates, atoms[:i], shape)
        while not len(free):
            free = _free(shape.sample(64, generator), atoms[:i], shape)
        atoms[i] = free[0]
    return atoms[start:]


def _first(shape: _Ellipsoid, generator: np.random.Generator, root: Array | None) -> Array:
    """Candidates for the first atom of a walk, the best first."""
    if root is None:
        return shape.sample(24, generator)
    anywhere = shape.sample(4096, generator)
    return np.asarray(anywhere[np.argsort(np.linalg.norm(anywhere - root, axis=1))])


def _free(candidates: Array, atoms: Array, shape: _Ellipsoid) -> Array:
    """Those candidates that lie inside the shape and keep their distance from all atoms."""
    candidates = candidates[shape.contains(candidates)]
    distance2 = np.square(candidates[:, None] - atoms[None]).sum(axis=-1)
    return np.asarray(candidates[(distance2 >= SHORTEST_DISTANCE**2).all(axis=1)])


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True))
