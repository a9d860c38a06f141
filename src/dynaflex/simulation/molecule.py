"""A made-up flexible molecule: a body and its limbs, of C-alpha-like atoms.

The limbs are an arm and a lobe, a shorter arm on the far side of the body, or five arms all around it. Where two arms
shall touch, the lobe is the equal of the arm, and both lie side by side: the halves of one ellipsoid that is cut along
its length. They turn about axes across the cut, like the blades of scissors, so that they shear along each other and
never collide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dynaflex.errors import UsageError
from dynaflex.shapes import Array, BoolArray, IntArray

DOMAINS = ("body", "arm", "lobe", "leg", "tail", "head")
BODY, ARM, LOBE = range(3)

ATOMS = (300, 180, 120)
SEMI_AXES = ((24.0, 21.0, 19.2), (30.0, 16.2, 11.9), (17.5, 15.5, 14.3))
"""Per domain, in Å: ellipsoids of 135 Å³ per residue. End to end the molecule measures about 130 Å."""
BLADE_ATOMS = 150
BLADE_SEMI_AXES = (30.0, 17.0, 20.5)
"""Of the ellipsoid that two touching arms share, in Å; it is cut across the last."""
CUT = 2.0
"""Width in Å of the cut between two touching arms, from atom centre to atom centre."""
ARMS_AROUND = ((0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (-0.5, 0.87, 0.0), (-0.5, -0.87, 0.0))
"""Where five arms point: at right angles to their neighbours, or more, so that none meets another."""
ARM_AROUND_ATOMS = 100
ARM_AROUND_SEMI_AXES = (22.0, 13.0, 11.3)
ROOT = 2.0
"""How deep in Å two touching arms, thin at their tip, are rooted in the body."""
REFERENCE_WIDTH = 192.0
LARGEST_SCALE = 1.5
SMALLEST_WIDTH = 64.0

CHAIN_STEP = 3.8
SHORTEST_DISTANCE = 3.5
LINKER = 1.5
"""Ångström between the surface of the body and the hinge of a domain."""


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
    """Atoms ``points`` ``(n 3)`` in Å around the origin, the ``domain`` ``(n)`` of each, an index into ``DOMAINS``, and
    the ``joints`` of all domains but the body.

    Of an assembly with a ``symmetry`` all bodies are domain 0, and every unit has an arm of its own.
    """

    points: Array
    domain: IntArray
    joints: tuple[Joint, ...]
    symmetry: str = "C1"

    @property
    def arm(self) -> Joint:
        """Where the arm is attached."""
        return self.joints[ARM - 1]

    @property
    def lobe(self) -> Joint:
        """Where the lobe is attached."""
        return self.joints[LOBE - 1]


def make_molecule(width: float, seed: int, motion: str = "hinge") -> Molecule:
    """A molecule that suits a box ``width`` Å wide: of protein density, with atoms at least 3.5 Å apart in each domain.

    At 192 Å it has 600 atoms and is about 130 Å long; both scale with the box, up to 1.5 times that length. The same
    ``seed`` always gives the same atoms. Its arms lie side by side for the ``motion`` "touching", and it has five for
    "five"; all others are motions of one molecule.

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
    limbs = {"touching": _side_by_side, "five": _around}.get(motion, _apart)(scale)
    for index, limb in enumerate(limbs, ARM):
        atoms = _fill(limb.shape, _count(limb.atoms, scale), generator, placed, limb.root)
        placed = np.concatenate([placed, atoms])
        domain.append(np.full(len(atoms), index))
        joints.append(limb.joint)
    center = (placed.max(axis=0) + placed.min(axis=0)) / 2.0
    moved = tuple(Joint(joint.point - center, joint.axis, joint.along, joint.length) for joint in joints)
    return Molecule(placed - center, np.concatenate(domain).astype(np.int64), moved)


def limb_atoms(scale: float, along: Array, generator: np.random.Generator) -> tuple[Array, Array, Joint]:
    """A body around the origin with one arm in the direction ``along``: the atoms of both, and the joint."""
    body = _Ellipsoid(np.zeros(3), np.eye(3), scale * np.array(SEMI_AXES[BODY]))
    placed = _fill(body, _count(ATOMS[BODY], scale), generator)
    limb = _attach(ATOMS[ARM], SEMI_AXES[ARM], along, scale)
    return placed, _fill(limb.shape, _count(limb.atoms, scale), generator, placed, limb.root), limb.joint


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


def _apart(scale: float) -> tuple[_Limb, ...]:
    """The arm, and the lobe on the far side of the body."""
    along, side = _directions()
    back = unit_vector(-along * math.cos(0.9) + side * math.sin(0.9))
    return tuple(_attach(ATOMS[limb], SEMI_AXES[limb], way, scale) for limb, way in ((ARM, along), (LOBE, back)))


def _around(scale: float) -> tuple[_Limb, ...]:
    """Five arms, all around the body."""
    ways = (unit_vector(np.array(way)) for way in ARMS_AROUND)
    return tuple(_attach(ARM_AROUND_ATOMS, ARM_AROUND_SEMI_AXES, way, scale) for way in ways)


def _attach(atoms: int, size: tuple[float, ...], along: Array, scale: float) -> _Limb:
    """A domain of semi-axes ``size`` at 192 Å, whose tip touches the body in the direction ``along``."""
    semi_axes = scale * np.array(size)
    surface = scale / math.sqrt(np.square(along / np.array(SEMI_AXES[BODY])).sum())
    axis = unit_vector(np.cross(along, [0.2, -0.5, 0.8]))
    frame = np.stack([along, axis, np.cross(along, axis)])
    point = along * (surface + LINKER)
    shape = _Ellipsoid(point + along * semi_axes[0], frame, semi_axes)
    return _Limb(shape, atoms, Joint(point, axis, along, 2.0 * float(semi_axes[0])))


def _side_by_side(scale: float) -> tuple[_Limb, ...]:
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
    along = unit_vector(np.array([0.80, 0.50, 0.33]))
    return along, unit_vector(np.cross(along, [0.0, 0.0, 1.0]))


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
        step = unit_vector(generator.normal(size=(24, 3))) * CHAIN_STEP
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


def unit_vector(vector: Array) -> Array:
    """The vectors ``(... 3)`` at length 1."""
    return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True))
