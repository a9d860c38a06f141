"""Laws of the projection of points along the beam."""

from __future__ import annotations

import math

import torch

from dynaflex.imaging.pose import Pose, project
from dynaflex.rotations import euler_to_matrix, random_rotations
from dynaflex.shapes import Tensor

B, N = 5, 40


def scene(seed: int = 0) -> tuple[Tensor, Pose]:
    """Random points shared by all images, and random poses, in float64."""
    generator = torch.Generator().manual_seed(seed)
    points = 30 * torch.randn(N, 3, generator=generator, dtype=torch.float64)
    shift = 5 * torch.randn(B, 2, generator=generator, dtype=torch.float64)
    return points, Pose(random_rotations(B, generator), shift)


def test_image_position_is_the_first_two_coordinates_of_the_rotated_point() -> None:
    points, pose = scene()
    expected = torch.stack([(a @ points.T).T[:, :2] + s for a, s in zip(pose.rotation, pose.shift, strict=True)])
    assert torch.allclose(project(points, pose), expected, atol=1e-10)


def test_shared_points_and_points_per_image_project_alike() -> None:
    points, pose = scene()
    assert torch.allclose(project(points, pose), project(points.expand(B, N, 3), pose), atol=1e-10)


def test_rotating_then_projecting_equals_projecting_with_the_product() -> None:
    points, pose = scene()
    turn = random_rotations(1, torch.Generator().manual_seed(7))[0]
    composed = Pose(pose.rotation @ turn, pose.shift)
    assert torch.allclose(project(points @ turn.T, pose), project(points, composed), atol=1e-10)


def test_origin_projects_to_the_shift() -> None:
    _, pose = scene()
    origin = torch.zeros(1, 3, dtype=torch.float64)
    assert torch.allclose(project(origin, pose)[:, 0], pose.shift)


def test_motion_along_the_beam_is_invisible() -> None:
    points, pose = scene()
    beam = pose.rotation[:, 2, None, :]
    assert torch.allclose(project(points + 12.0 * beam, pose), project(points, pose), atol=1e-10)


def test_positive_psi_turns_the_image_clockwise_from_x_towards_minus_y() -> None:
    """A point on x, seen with psi = 90 degrees: ``A x`` is -y."""
    pose = Pose(euler_to_matrix(torch.tensor([[0.0, 0.0, math.pi / 2]])), torch.zeros(1, 2))
    assert torch.allclose(project(torch.tensor([[1.0, 0.0, 0.0]]), pose)[0, 0], torch.tensor([0.0, -1.0]), atol=1e-6)


def test_projection_lies_in_memory_coordinate_by_coordinate() -> None:
    points, pose = scene()
    for image in (project(points, pose), project(points.expand(B, N, 3), pose)):
        assert image.shape == (B, N, 2)
        assert image.transpose(1, 2).is_contiguous()


def test_indexing_and_moving_keep_rotation_and_shift_together() -> None:
    _, pose = scene()
    chosen = pose[torch.tensor([3, 1])].to(torch.device("cpu"), torch.float32)
    assert len(chosen) == 2
    assert chosen.rotation.dtype == torch.float32
    assert torch.allclose(chosen.shift[0], pose.shift[3].float())
    assert torch.allclose(chosen.rotation[1], pose.rotation[1].float())


def test_a_particle_that_moves_as_a_whole_is_one_in_another_pose() -> None:
    points, pose = scene()
    random = torch.Generator().manual_seed(4)
    turn, way = random_rotations(B, random), torch.randn(B, 1, 3, generator=random, dtype=torch.float64)
    moved = points @ turn.transpose(1, 2) + way
    assert torch.allclose(project(points, pose.following(points, moved)), project(moved, pose), atol=1e-6)
    # What bends as well goes where it is nearest to: nothing is left that turns or is displaced.
    bent = moved + 0.1 * torch.randn(moved.shape, generator=random, dtype=torch.float64)
    seen = bent @ pose.rotation.transpose(1, 2)
    followed = points @ pose.following(points, bent).rotation.transpose(1, 2)
    around, left = followed - followed.mean(dim=1, keepdim=True), seen - seen.mean(dim=1, keepdim=True)
    assert float(torch.linalg.cross(around, left - around).sum(dim=1).abs().max()) < 1e-6
