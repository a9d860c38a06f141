"""Laws of selection: exactly what lies inside."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from dynaflex.analyze.select import inside_box, inside_polygon

SQUARE = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
L_SHAPE = np.array([[0, 0], [3, 0], [3, 1], [1, 1], [1, 3], [0, 3]], dtype=float)


def test_a_concave_outline_leaves_its_notch_out() -> None:
    points = np.array([[0.5, 0.5], [2.5, 0.5], [0.5, 2.5], [2.0, 2.0], [-0.1, 0.5], [3.1, 0.5]])
    assert inside_polygon(points, L_SHAPE).tolist() == [True, True, True, False, False, False]


def test_the_direction_and_the_first_corner_do_not_matter() -> None:
    points = np.random.default_rng(0).uniform(-1, 4, (500, 2))
    expected = inside_polygon(points, L_SHAPE)
    assert 50 < expected.sum() < 450
    for outline in (L_SHAPE[::-1], np.roll(L_SHAPE, 2, axis=0)):
        assert np.array_equal(inside_polygon(points, outline), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 9), st.integers(0, 2**31))
def test_stars_agree_with_matplotlib(corners: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0.0, 2.0 * np.pi, corners))
    outline = random.uniform(0.3, 2.0, corners)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = random.uniform(-2, 2, (200, 2))
    closed = Outline(np.vstack([outline, outline[:1]]), closed=True)
    # The wedge between the last corner and the first may be wider than half a turn: that is still one outline.
    assert np.array_equal(inside_polygon(points, outline), closed.contains_points(points))


def test_a_point_that_is_no_number_is_outside() -> None:
    assert not inside_polygon(np.array([[np.nan, 1.0], [1.0, np.nan]]), SQUARE).any()


def test_a_box_bounds_only_the_axes_it_names() -> None:
    points = np.array([[0.0, 9.0], [1.0, -9.0], [2.0, 0.0], [np.nan, 0.0]])
    assert inside_box(points, {0: (0.0, 1.0)}).tolist() == [True, True, False, False]
    assert inside_box(points, {0: (0.0, 2.0), 1: (-1.0, 1.0)}).tolist() == [False, False, True, False]
    assert inside_box(points, {}).all()
