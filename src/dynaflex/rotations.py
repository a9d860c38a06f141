"""Rotations in RELION's convention."""

from __future__ import annotations

import math
import re

import numpy as np
import roma
import torch

from dynaflex.errors import UsageError
from dynaflex.shapes import Array, Tensor

_GOLDEN = 0.5 + math.sqrt(1.25)
# (order, axis) of rotations that generate each polyhedral group, the axes as in RELION's symmetries.cpp.
_POLYHEDRAL = {
    "T": [(3, (0.0, 0.0, 1.0)), (2, (0.0, math.sqrt(2.0), 1.0))],
    "O": [(3, (1.0, 1.0, 1.0)), (4, (0.0, 0.0, 1.0))],
    "I1": [(2, (1.0, 0.0, 0.0)), (5, (_GOLDEN, 0.0, -1.0))],
    "I2": [(2, (0.0, 0.0, 1.0)), (5, (1.0, 0.0, _GOLDEN))],
    "I3": [(2, (-1.0, 0.0, _GOLDEN)), (5, (0.0, 0.0, 1.0))],
    "I4": [(2, (1.0, 0.0, _GOLDEN)), (5, (2.0, 0.0, 1.0))],
}


def euler_to_matrix(angles: Tensor) -> Tensor:
    """RELION's ``Euler_angles2matrix``: (rot, tilt, psi) in radians ``(... 3)`` to matrices A ``(... 3 3)``.

    ``x_image = A x_reference``. A is the transpose of the intrinsic ZYZ rotation.
    """
    return roma.euler_to_rotmat("ZYZ", [angles[..., 0], angles[..., 1], angles[..., 2]]).transpose(-1, -2)


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """(rot, tilt, psi) in radians ``(... 3)`` of RELION matrices A ``(... 3 3)``: undoes :func:`euler_to_matrix`."""
    return roma.rotmat_to_euler("ZYZ", matrix.transpose(-1, -2))


def axis_angle_to_matrix(axis: Tensor, angle: Tensor) -> Tensor:
    """Right-handed rotations ``(... 3 3)`` by ``angle`` ``(...)`` radians about the unit vector ``axis`` ``(3)``."""
    return roma.rotvec_to_rotmat(angle[..., None] * axis)


def random_rotations(n: int, generator: torch.Generator) -> Tensor:
    """Uniformly random rotations ``(n 3 3)`` in float64, reproducible from ``generator``."""
    quaternion = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return roma.unitquat_to_rotmat(quaternion / quaternion.norm(dim=1, keepdim=True))


def on_spiral(heights: Array) -> Array:
    """Unit vectors ``(n 3)`` at ``heights`` ``(n)``, each turned on by the golden angle: evenly spread if these are."""
    turn = np.pi * (1.0 + 5.0**0.5) * (np.arange(len(heights)) + 0.5)
    flat = np.sqrt(1.0 - heights * heights)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), heights], axis=1)


def even_directions(count: int) -> Array:
    """Unit vectors ``(n 3)`` spread evenly over the sphere."""
    return on_spiral(1.0 - 2.0 * (np.arange(count) + 0.5) / count)


def point_group(name: str) -> Tensor:
    """The rotations ``(g 3 3)`` of a point group in float64, the identity first; axes as in RELION.

    ``Cn`` turns about z and ``Dn`` also by 180 degrees about x. ``T`` has a three-fold axis along z, ``O`` a four-fold
    one. The icosahedral settings are ``I1`` (two-fold axes along x, y, z; five-fold ones in the plane xz, 58 degrees
    from z), ``I2`` (the same turned by 90 degrees about z; plain ``I`` means this one, as in RELION), ``I3`` (a
    five-fold axis along z) and ``I4`` (the same turned by 180 degrees about z). Upper and lower case mean the same. The
    groups hold g = n, 2n, 12, 24 and 60 rotations.

    Raises UsageError ``symmetry.unknown`` for any other name, those with mirrors included.
    """
    label = name.strip().upper()
    cyclic = re.fullmatch(r"([CD])([1-9]\d*)", label)
    if cyclic is not None:
        generators = [(int(cyclic[2]), (0.0, 0.0, 1.0))]
        if cyclic[1] == "D":
            generators.append((2, (1.0, 0.0, 0.0)))
    elif label in _POLYHEDRAL or label == "I":
        generators = _POLYHEDRAL["I2" if label == "I" else label]
    else:
        raise UsageError(
            "symmetry.unknown",
            "there is no such point group of rotations",
            expected="Cn, Dn, T, O, I, I1, I2, I3 or I4",
            found=name,
            fix="name the group as in RELION; mirrors do not occur in proteins",
        )
    return _closure([_turn(order, axis) for order, axis in generators])


def _turn(order: int, axis: tuple[float, float, float]) -> Tensor:
    vector = torch.tensor(axis, dtype=torch.float64)
    return axis_angle_to_matrix(vector / vector.norm(), torch.tensor(2.0 * math.pi / order, dtype=torch.float64))


def _closure(generators: list[Tensor]) -> Tensor:
    """All products of the generators, each once."""
    group = torch.eye(3, dtype=torch.float64)[None]
    examined = 0
    while examined < len(group):
        for generator in generators:
            product = generator @ group[examined]
            if not torch.isclose(group, product, rtol=0.0, atol=1e-6).all(dim=(1, 2)).any():
                group = torch.cat([group, product[None]])
        examined += 1
    return group
