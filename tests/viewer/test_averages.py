"""Class averages: particles seen from one side, whatever their turn in the plane, shift and defocus, give that side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dynaflex import fourier
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose
from dynaflex.imaging.render import render
from dynaflex.viewer.answers.averages import MOST_VIEWS, aligned, averages
from dynaflex.viewer.answers.wire import unpack
from dynaflex.viewer.opened import OpenedRun

GRID = Grid(48, 3.0)
# No two sides of it are alike, nor any and its mirror image.
POINTS = torch.tensor([[0.0, 0, 0], [24, 0, 0], [0, 15, 0], [0, 0, 30], [-18, -9, 6], [9, 21, -12]])
WEIGHTS = torch.tensor([[3.0, 2.0, 1.0, 1.5, 1.0, 0.7]]) * 50


def seen(pose: Pose, ctf: torch.Tensor | None = None) -> torch.Tensor:
    return render(POINTS, WEIGHTS, torch.tensor([40.0]), pose, ctf, GRID)


def poses(directions: np.ndarray, each: int, spread: float, seed: int = 0) -> Pose:
    """So many poses around each direction, turned and moved in the plane at random."""
    random = np.random.default_rng(seed)
    cameras = []
    for direction in np.repeat(directions, each, axis=0):
        tilt = Rotation.from_rotvec(random.normal(scale=spread, size=3))
        toward = Rotation.align_vectors([[0.0, 0, 1]], [direction])[0]
        cameras.append((Rotation.from_rotvec([0, 0, random.uniform(0, 2 * np.pi)]) * tilt * toward).as_matrix())
    shift = random.uniform(-9, 9, size=(len(cameras), 2))
    return Pose(torch.tensor(np.array(cameras), dtype=torch.float32), torch.tensor(shift, dtype=torch.float32))


def transfer(count: int, seed: int = 1) -> torch.Tensor:
    """Oscillating functions of frequency, no two of which are zero in the same places."""
    k = GRID.radius(2) / GRID.width
    defocus = np.random.default_rng(seed).uniform(4e3, 9e3, size=count)
    return torch.stack([torch.sin(np.pi * float(one) * 0.02 * k**2 * 20 + 0.1) for one in defocus])


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def test_aligned_images_all_look_as_the_camera_sees_them() -> None:
    pose = poses(np.array([[0.3, -0.5, 0.8]]), 20, 0.0)
    camera = pose.rotation[7]
    found = aligned(fourier.inverse_transform(seen(pose), 2), pose, camera, GRID)
    expected = fourier.inverse_transform(seen(Pose(camera[None], torch.zeros(1, 2))), 2)[0]
    for one in found:
        assert correlation(one, expected) > 0.99


def test_an_average_is_the_side_itself_without_its_ctf() -> None:
    pose = poses(np.array([[0.3, -0.5, 0.8]]), 60, 0.0)
    ctf = transfer(60)
    (view,) = averages(seen(pose, ctf), ctf, pose, GRID, 1)
    assert view.count == 60
    np.testing.assert_allclose(view.direction, np.array([0.3, -0.5, 0.8]) / np.sqrt(0.98), atol=1e-5)
    found = fourier.inverse_transform(view.coefficients, 2)
    # The camera of an average has the reference's z upright.
    up = torch.tensor([0.0, 0, 1]) - view.direction[2].float() * view.direction.float()
    up = up / up.norm()
    camera = torch.stack([torch.linalg.cross(up, view.direction.float()), up, view.direction.float()])
    expected = fourier.inverse_transform(seen(Pose(camera[None], torch.zeros(1, 2))), 2)[0]
    assert correlation(found, expected) > 0.95
    assert correlation(found, expected) > correlation(found, expected.flip(1)) + 0.3


def test_noise_is_averaged_away() -> None:
    pose = poses(np.array([[0.0, 0.6, 0.8]]), 200, 0.05)
    ctf = transfer(200)
    clean = seen(pose, ctf)
    images = fourier.inverse_transform(clean, 2)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * 4 * images.std()
    noisy = fourier.transform(images + noise, 2)
    (expected,), (found,) = (averages(some, ctf, pose, GRID, 1) for some in (clean, noisy))
    pictures = [
        fourier.low_pass(fourier.inverse_transform(one.coefficients, 2), GRID, 12.0) for one in (expected, found)
    ]
    single = fourier.low_pass(fourier.inverse_transform(noisy[0], 2), GRID, 12.0)
    target = fourier.low_pass(fourier.inverse_transform(clean[0], 2), GRID, 12.0)
    assert correlation(*pictures) > 0.85 > correlation(single, target) + 0.2


def test_views_are_told_apart_and_sorted_by_size() -> None:
    directions = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])
    parts = [poses(directions[[i]], each, 0.08, seed=i) for i, each in enumerate((10, 40, 25))]
    pose = Pose(torch.cat([part.rotation for part in parts]), torch.cat([part.shift for part in parts]))
    views = averages(seen(pose), torch.ones(75, *GRID.radius(2).shape), pose, GRID, 3)
    assert [view.count for view in views] == [40, 25, 10]
    for view, expected in zip(views, directions[[1, 2, 0]], strict=True):
        assert float(view.direction @ torch.tensor(expected)) > 0.98


def test_the_averages_of_a_selection_count_its_particles(finished_run: Path) -> None:
    opened = OpenedRun(finished_run)
    for count, views in ((1, 1), (9, 1), (40, 5), (400, MOST_VIEWS)):
        chosen = np.arange(400) < count
        header, _ = unpack(opened.averages(chosen, 12.0))
        assert sum(header["counts"]) == header["used"] == header["total"] == count
        assert len(header["counts"]) == views and header["counts"] == sorted(header["counts"], reverse=True)
    with pytest.raises(UsageError, match=r"view\.rows"):
        opened.averages(np.zeros(400, bool), 12.0)


def test_of_many_particles_some_are_drawn(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynaflex.viewer.answers.averages.MOST_IMAGES", 50)
    header, _ = unpack(OpenedRun(finished_run).averages(np.ones(400, bool), 12.0))
    assert (header["used"], header["total"], sum(header["counts"])) == (50, 400, 50)
