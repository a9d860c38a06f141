"""A made-up symmetric assembly: units of a body and an arm, each of which turns about its hinge for itself."""

from __future__ import annotations

import math

import numpy as np

from dynaflex.errors import UsageError
from dynaflex.rotations import even_directions, point_group
from dynaflex.shapes import Array
from dynaflex.simulation.molecule import (
    ARM,
    BODY,
    LINKER,
    SEMI_AXES,
    SMALLEST_WIDTH,
    Joint,
    Molecule,
    limb_atoms,
    unit_vector,
)  # fmt: skip

_FILLED = 0.43
"""How far from the axis the assembly reaches, of the width of the box: arms that swing stay inside."""
_DIRECTIONS = 4000
_RADIUS = 22.0
"""Of a body at full size, in Å, as its neighbour in the assembly feels it."""
_LEAN = (0.75, 0.2, 0.63)
"""Where an arm points: outwards from the centre, about the axis, and up."""


def make_assembly(width: float, seed: int, symmetry: str) -> Molecule:
    """An assembly that suits a box ``width`` Å wide, its units related by the point group ``symmetry``.

    All units are the same atoms, turned. Bodies touch; they are domain 0, and the arm of unit ``k``, which operation
    ``k`` of the group puts there, is domain ``k + 1``, with joint ``k``.

    Raises:
        UsageError: there is no such group, or the box is too small for such an assembly.
    """
    group = point_group(symmetry).numpy()
    place, chord = _farthest_from_itself(group)
    full = 2.0 * _RADIUS / chord + SEMI_AXES[BODY][0] + LINKER + 2.0 * SEMI_AXES[ARM][0]
    scale = min(_FILLED * width / full, 1.0)
    smallest = 0.3 * full / _FILLED
    if width < max(SMALLEST_WIDTH, smallest):
        raise UsageError(
            "simulate.box-too-small", "the box is too small for an assembly of this symmetry",
            field="--box times --pixel-size", expected=f"at least {max(SMALLEST_WIDTH, smallest):.0f} Å",
            found=f"{width:g} Å", fix="choose a larger --box or --pixel-size",
        )  # fmt: skip
    centre = place * (scale * 2.0 * _RADIUS / chord)
    body, arm, joint = limb_atoms(scale, _leaning(place), np.random.default_rng([seed, 0]))
    unit = np.concatenate([body, arm]) + centre
    positions = np.concatenate([unit @ rotation.T for rotation in group])
    domain = np.repeat([[BODY, ARM + k] for k in range(len(group))], [len(body), len(arm)], axis=1).reshape(-1)
    joints = tuple(
        Joint(rotation @ (joint.point + centre), rotation @ joint.axis, rotation @ joint.along, joint.length)
        for rotation in group
    )
    return Molecule(positions, domain.astype(np.int64), joints, symmetry)


def _farthest_from_itself(group: Array) -> tuple[Array, float]:
    """The direction that lies farthest from where the group puts it, and how far on the unit sphere."""
    directions = even_directions(_DIRECTIONS)
    if len(group) == 1:
        return np.array([1.0, 0.0, 0.0]), math.sqrt(2.0)
    moved = np.einsum("gij,nj->gni", group[1:], directions) - directions
    nearest = np.linalg.norm(moved, axis=2).min(axis=0)
    best = int(nearest.argmax())
    return directions[best], float(nearest[best])


def _leaning(place: Array) -> Array:
    """The direction of the arm of a unit at the direction ``place``."""
    pole = np.array([0.0, 0.0, 1.0]) if abs(place[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    about = unit_vector(np.cross(pole, place))
    up = np.cross(place, about)
    return unit_vector(_LEAN[0] * place + _LEAN[1] * about + _LEAN[2] * up)
