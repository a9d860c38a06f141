"""Rotations in RELION's convention."""

from __future__ import annotations

import roma
import torch

from dynaflex.shapes import Tensor


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
