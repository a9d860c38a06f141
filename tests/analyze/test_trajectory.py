"""Laws of a path through dense regions: it goes where the particles are."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from dynaflex.analyze import trajectory
from dynaflex.analyze.trajectory import dense_path, dense_path_through, equal_steps, mean_path

RANDOM = np.random.default_rng(1)


def ring(count: int = 2000) -> np.ndarray:
    """A ring of radius 3 with nobody in it."""
    angle = RANDOM.uniform(0.0, 2.0 * np.pi, count)
    radius = RANDOM.normal(3.0, 0.25, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def test_the_path_goes_round_the_hole_of_a_ring() -> None:
    points = ring()
    path = dense_path(points, points[:, 0], 25)
    radius = np.linalg.norm(path, axis=1)
    assert radius.min() > 2.4 and radius.max() < 3.6
    assert path[0, 0] < -2.0 and path[-1, 0] > 2.0


def test_the_path_takes_a_detour_where_the_short_way_is_thin() -> None:
    # Two lakes and two ways: a straight one that few take, and a bow that most take.
    lakes = [RANDOM.normal(c, 0.3, (400, 2)) for c in ([-3.0, 0.0], [3.0, 0.0])]
    thin = np.stack([RANDOM.uniform(-3, 3, 30), RANDOM.normal(0.0, 0.25, 30)], axis=1)
    angle = RANDOM.uniform(0.0, np.pi, 1500)
    bow = np.stack([3.0 * np.cos(angle), 2.0 * np.sin(angle)], axis=1) + RANDOM.normal(0.0, 0.15, (1500, 2))
    points = np.concatenate([*lakes, thin, bow])
    middle = dense_path(points, points[:, 0], 31)[15]
    assert middle[1] > 1.2


def test_the_path_leads_by_way_of_the_stops() -> None:
    points = ring()
    # The short way from west to south is a quarter of the ring; by way of the north-east it is the rest of it.
    stops = 3.0 * np.array([[-1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    direct, long = (dense_path_through(points, some, 41) for some in (stops[[0, 2]], stops))
    for path in (direct, long):
        assert np.allclose(path[[0, -1]], stops[[0, 2]], atol=0.6)
        radius = np.linalg.norm(path, axis=1)
        assert radius.min() > 2.4 and radius.max() < 3.6
    assert np.linalg.norm(long - stops[1], axis=1).min() < 0.5 < np.linalg.norm(direct - stops[1], axis=1).min()


def test_of_many_particles_some_thousands_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counted(NearestNeighbors):  # type: ignore[misc]
        def fit(self, points: np.ndarray) -> NearestNeighbors:
            sizes.append(len(points))
            return super().fit(points)

    monkeypatch.setattr(trajectory, "NearestNeighbors", Counted)
    points = RANDOM.normal(size=(30_000, 3))
    dense_path(points, points[:, 0], 9)
    dense_path_through(points, points[:3], 9)
    assert len(sizes) >= 3 and max(sizes) == 5000


def test_stops_in_one_place_give_a_path_that_stays_there() -> None:
    points = ring()
    path = dense_path_through(points, points[[7, 7]], 5)
    assert np.ptp(path, axis=0).max() == 0.0 and np.linalg.norm(path[0] - points[7]) < 1.0


def test_parts_that_nothing_joins_are_joined() -> None:
    points = np.concatenate([RANDOM.normal(c, 0.1, (100, 2)) for c in ([0, 0], [50, 0], [0, 80])])
    path = dense_path(points, points[:, 0], 9)
    assert path[0, 0] < 1.0 and path[-1, 0] > 45.0


@pytest.mark.parametrize("frames", [2, 7])
def test_steps_are_equal_and_the_ends_are_kept(frames: int) -> None:
    corner = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 3.0]])
    path = equal_steps(corner, frames)
    assert path.shape == (frames, 2)
    assert np.allclose(path[[0, -1]], corner[[0, -1]])
    straight = equal_steps(np.array([[0.0, 0.0], [0.1, 0.2], [1.0, 2.0]]), frames)
    assert np.allclose(straight, np.linspace([0.0, 0.0], [1.0, 2.0], frames))


def test_particles_in_one_place_give_a_path_that_stays_there() -> None:
    points = np.tile([[1.0, 2.0]], (40, 1))
    assert np.allclose(dense_path(points, points[:, 0], 5), [1.0, 2.0])


def test_a_path_leads_out_of_a_place_where_most_particles_are() -> None:
    """However much thinner it is elsewhere: no cost is beyond all numbers."""
    points = np.concatenate([np.zeros((60, 2)), np.linspace([0.1, 0.1], [1.0, 1.0], 40)])
    path = dense_path(points, points[:, 0], 9)
    assert np.isfinite(path).all() and np.linalg.norm(path[0]) < 0.1 < np.linalg.norm(path[-1])


def test_the_mean_path_follows_a_bent_cloud_in_equal_steps() -> None:
    along = RANDOM.normal(0.0, 2.0, 4000)
    noise = RANDOM.normal(0.0, 0.2, (4000, 3))
    points = np.stack([along, 0.2 * along**2, -along], axis=1) + noise
    path = mean_path(points, along, 21)
    low, high = np.percentile(along, [2, 98])
    steps = np.linspace(low, high, 21)
    expected = np.stack([steps, 0.2 * steps**2, -steps], axis=1)
    # The width over which it averages rounds the bend off; the ends are not drawn inwards.
    assert np.abs(path - expected)[:, [0, 2]].max() < 0.1 and np.abs(path - expected)[:, 1].max() < 0.3


def test_the_mean_path_of_a_plane_is_a_straight_line_however_the_points_are_spread() -> None:
    along = np.concatenate([RANDOM.uniform(0, 1, 900), RANDOM.uniform(1, 9, 100)])
    slope, origin = np.array([2.0, -1.0]), np.array([5.0, 7.0])
    path = mean_path(origin + along[:, None] * slope, along, 11)
    np.testing.assert_allclose(
        path, origin + np.linspace(*np.percentile(along, [2, 98]), 11)[:, None] * slope, atol=1e-6
    )


def test_the_mean_path_of_points_without_extent_stays_in_their_middle() -> None:
    points = RANDOM.normal(size=(50, 2))
    path = mean_path(points, np.full(50, 3.0), 5)
    np.testing.assert_allclose(path, np.repeat(points.mean(axis=0)[None], 5, axis=0))
