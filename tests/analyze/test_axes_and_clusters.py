"""Laws of axes, clusters and representatives, in arrangements whose answer is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dynaflex.analyze.axes import principal_axes, require_umap, umap
from dynaflex.analyze.clusters import NOISE, density_clusters, k_means, medoid
from dynaflex.errors import EnvironmentFault

RANDOM = np.random.default_rng(0)
CLOUDS = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
SIZES = (300, 200, 100)
THREE = np.concatenate([c + RANDOM.normal(0.0, 0.5, (n, 2)) for c, n in zip(CLOUDS, SIZES, strict=True)])
CLOUD = np.repeat([1, 2, 3], SIZES)


def test_principal_axes_are_orthonormal_and_ordered_and_their_coordinates_uncorrelated() -> None:
    points = RANDOM.normal(size=(500, 4)) @ RANDOM.normal(size=(4, 4)) + 3.0
    found = principal_axes(points, 4)
    assert np.allclose(found.axes @ found.axes.T, np.eye(4), atol=1e-12)
    coordinates = found.coordinates(points)
    assert np.allclose(np.cov(coordinates.T, bias=True), np.diag(found.variance), atol=1e-9)
    assert (np.diff(found.variance) <= 0).all() and found.share.sum() == pytest.approx(1.0)
    assert np.allclose(coordinates @ found.axes + found.mean, points)


def test_the_sign_of_an_axis_does_not_depend_on_the_data_being_reversed() -> None:
    points = RANDOM.normal(size=(50, 3)) * [3.0, 2.0, 1.0]
    assert np.allclose(principal_axes(points, 2).axes, principal_axes(-points, 2).axes)


def test_points_that_are_all_equal_have_no_share() -> None:
    assert np.allclose(principal_axes(np.ones((10, 3)), 3).share, 0.0)


def test_clouds_are_clusters_numbered_by_size() -> None:
    assert np.array_equal(k_means(THREE, 3), CLOUD)
    found = density_clusters(THREE, 40)
    assert set(found.tolist()) <= {NOISE, 1, 2, 3}
    assert (found == CLOUD).mean() > 0.95 and not np.any((found != NOISE) & (found != CLOUD))


def test_there_are_no_more_clusters_than_points() -> None:
    assert sorted(k_means(np.array([[0.0], [0.0], [1.0]]), 6).tolist()) == [1, 1, 2]


def test_far_points_of_a_large_set_follow_those_that_were_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynaflex.analyze.clusters._SEARCHED", 200)
    found = density_clusters(THREE, 40)
    assert (found == CLOUD).mean() > 0.9


def test_the_medoid_is_the_point_nearest_to_all_others() -> None:
    points = RANDOM.normal(size=(200, 3))
    total = np.linalg.norm(points[:, None] - points[None], axis=2).sum(axis=1)
    assert medoid(points) == total.argmin()


def test_umap_that_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    for call in (require_umap, lambda: umap(THREE)):
        with pytest.raises(EnvironmentFault, match=r"pip install dynaflex\[umap\].*\[analyze.no-umap\]"):
            call()
