"""Laws of RELION's Euler angles."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dynaflex.rotations import axis_angle_to_matrix, euler_to_matrix, matrix_to_euler, random_rotations
from dynaflex.shapes import Tensor

DEGREES = st.floats(-180.0, 180.0)


def random_angles(n: int) -> Tensor:
    """(rot, tilt, psi) in radians, tilt away from the poles."""
    uniform = torch.rand(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = torch.tensor([-math.pi, 0.05, -math.pi]), torch.tensor([math.pi, math.pi - 0.05, math.pi])
    return low + (high - low) * uniform


@given(DEGREES, DEGREES, DEGREES)
def test_matrix_is_the_transpose_of_scipys_intrinsic_zyz(rot: float, tilt: float, psi: float) -> None:
    ours = euler_to_matrix(torch.deg2rad(torch.tensor([rot, tilt, psi], dtype=torch.float64)))
    theirs = Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True).as_matrix().T
    assert np.allclose(ours, theirs, atol=1e-12)


def test_matrix_equals_relions_written_out() -> None:
    """``Euler_angles2matrix`` entry by entry, from the sines and cosines of rot (a), tilt (b) and psi (g)."""
    angles = random_angles(20)
    ca, cb, cg = angles.cos().unbind(1)
    sa, sb, sg = angles.sin().unbind(1)
    expected = torch.stack(
        [
            torch.stack([cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb], -1),
            torch.stack([-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb], -1),
            torch.stack([sb * ca, sb * sa, cb], -1),
        ],
        dim=1,
    )
    assert torch.allclose(euler_to_matrix(angles), expected, atol=1e-12)


def test_euler_angles_survive_the_round_trip() -> None:
    angles = random_angles(50)
    assert torch.allclose(matrix_to_euler(euler_to_matrix(angles)), angles, atol=1e-9)
    assert torch.allclose(matrix_to_euler(euler_to_matrix(angles[0])), angles[0], atol=1e-9)


def test_matrices_survive_the_round_trip_even_at_the_poles() -> None:
    angles = random_angles(8)
    angles[:4, 1], angles[4:, 1] = 0.0, math.pi
    matrix = euler_to_matrix(angles)
    assert torch.allclose(euler_to_matrix(matrix_to_euler(matrix)), matrix, atol=1e-6)


def test_axis_angle_is_right_handed() -> None:
    z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    quarter = axis_angle_to_matrix(z, torch.tensor(math.pi / 2, dtype=torch.float64))
    x = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.allclose(quarter @ x, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), atol=1e-12)


def test_random_rotations_are_proper_uniform_and_reproducible() -> None:
    rotations = random_rotations(4000, torch.Generator().manual_seed(3))
    eye = torch.eye(3, dtype=torch.float64).expand(4000, 3, 3)
    assert torch.allclose(rotations @ rotations.mT, eye, atol=1e-12)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(4000, dtype=torch.float64))
    # Uniform on SO(3): every entry has mean 0 and variance 1/3.
    assert rotations.mean(0).abs().max() < 5 / math.sqrt(3 * 4000)
    assert (rotations.square().mean(0) - 1 / 3).abs().max() < 0.03
    assert torch.equal(rotations, random_rotations(4000, torch.Generator().manual_seed(3)))
