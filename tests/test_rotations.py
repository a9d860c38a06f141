"""Laws of RELION's Euler angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dynaflex.errors import UsageError
from dynaflex.rotations import (
    axis_angle_to_matrix,
    euler_to_matrix,
    matrix_to_euler,
    point_group,
    random_rotations,
)
from dynaflex.shapes import Tensor

DEGREES = st.floats(-180.0, 180.0)


def random_angles(n: int) -> Tensor:
    """(rot, tilt, psi) in radians, tilt away from the poles."""
    uniform = torch.rand(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = torch.tensor([-math.pi, 0.05, -math.pi]), torch.tensor([math.pi, math.pi - 0.05, math.pi])
    return low + (high - low) * uniform


@settings(deadline=None)
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


ORDERS = {"C1": 1, "C7": 7, "D1": 2, "D4": 8, "T": 12, "O": 24, "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60}


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_point_groups_are_groups_of_rotations(name: str, order: int) -> None:
    group = point_group(name)
    assert group.shape == (order, 3, 3)
    assert torch.equal(group[0], torch.eye(3, dtype=torch.float64))
    assert torch.allclose(group @ group.mT, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(torch.linalg.det(group), torch.ones(order, dtype=torch.float64))
    products = torch.einsum("aij,bjk->abik", group, group).reshape(-1, 1, 9)
    distance = (products - group.reshape(1, -1, 9)).abs().amax(dim=2)
    assert distance.amin(dim=1).max() < 1e-10
    assert ((distance < 1e-3).sum(dim=1) == 1).all()


# Axes as RELION's symmetries.cpp writes them; it makes the groups from these.
RELIONS_AXES = {
    "C5": [(5, (0, 0, 1))],
    "D3": [(3, (0, 0, 1)), (2, (1, 0, 0))],
    "T": [(3, (0, 0, 1)), (2, (0, 0.816496, 0.577350))],
    "O": [(3, (0.5773502, 0.5773502, 0.5773502)), (4, (0, 0, 1))],
    "I": [(2, (0, 0, 1)), (5, (0.525731114, 0, 0.850650807)), (3, (0, 0.356822076, 0.934172364))],
    "I1": [(2, (1, 0, 0)), (5, (0.8506508, 0, -0.5257311)), (3, (0.9341724, 0.3568221, 0))],
    "I3": [(2, (-0.5257311, 0, 0.8506508)), (5, (0, 0, 1)), (3, (-0.4911235, 0.3568221, 0.7946545))],
    "I4": [(2, (0.5257311, 0, 0.8506508)), (5, (0.8944272, 0, 0.4472136)), (3, (0.4911235, 0.3568221, 0.7946545))],
}


@pytest.mark.parametrize("name", RELIONS_AXES)
def test_point_groups_have_relions_axes(name: str) -> None:
    group = point_group(name.lower())
    for order, axis in RELIONS_AXES[name]:
        turn = Rotation.from_rotvec(2 * math.pi / order * np.array(axis) / np.linalg.norm(axis)).as_matrix()
        assert (group - torch.from_numpy(turn)).abs().amax(dim=(1, 2)).min() < 1e-5


@pytest.mark.parametrize("name", ["", "C0", "C", "D-1", "C2v", "Oh", "I5", "X"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        point_group(name)
    assert caught.value.identifier == "symmetry.unknown"
