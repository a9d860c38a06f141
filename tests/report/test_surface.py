"""Laws of drawn surfaces: shape, place, what hides what, and the light."""

from __future__ import annotations

import numpy as np
import pytest

from dynaflex.report.drawing.surface import Surface, draw_surface, isosurface, turned, values_at, view_from
from dynaflex.shapes import Array, FloatArray

BOX, PIXEL = 48, 2.5
REACH = BOX * PIXEL / 2.0
ORIGIN = np.zeros(3)
FRONT = np.eye(3)
RED, BLUE = np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.1, 0.9])


def ball(center: tuple[float, float, float], radius: float) -> FloatArray:
    """A volume that falls off linearly and is 0 at ``radius`` Å from ``center`` (x, y, z) in Å."""
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
    return (radius - distance).astype(np.float32)


def pixel_of(x: float, y: float, size: int) -> tuple[int, int]:
    """Row and column of a place in the camera's frame, in Å."""
    return int((1.0 - y / REACH) * size / 2.0), int((1.0 + x / REACH) * size / 2.0)


def joined(first: Surface, second: Surface) -> Surface:
    return Surface(
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.faces, second.faces + len(first.vertices)]),
        np.concatenate([first.normals, second.normals]),
    )


@pytest.mark.parametrize("camera", [FRONT, view_from(0.0, 0.0), view_from(70.0, 35.0)])
def test_a_sphere_is_drawn_round_and_without_holes(camera: Array) -> None:
    size, radius = 200, 30.0
    surface = isosurface(ball((0.0, 0.0, 0.0), radius), 0.0, PIXEL)
    opacity = draw_surface(surface, RED, camera, ORIGIN, REACH, size)[..., 3] / 255.0
    row, column = np.indices((size, size)) + 0.5
    distance = np.hypot(column - size / 2.0, row - size / 2.0) * 2.0 * REACH / size
    assert (opacity[distance < radius - 1.5] == 1.0).all()
    assert (opacity[distance > radius + 1.5] == 0.0).all()
    assert opacity.sum() * (2.0 * REACH / size) ** 2 == pytest.approx(np.pi * radius**2, rel=0.01)


def test_a_surface_lies_where_the_density_is() -> None:
    center, size = (20.0, -12.0, 5.0), 120
    surface = isosurface(ball(center, 15.0), 0.0, PIXEL)
    assert np.linalg.norm(surface.vertices - center, axis=1) == pytest.approx(15.0, abs=0.2)
    opacity = draw_surface(surface, RED, FRONT, ORIGIN, REACH, size)[..., 3]
    rows, columns = np.nonzero(opacity)
    assert (rows.mean(), columns.mean()) == pytest.approx(pixel_of(20.0, -12.0, size), abs=1.0)
    moved = draw_surface(surface, RED, FRONT, np.array(center), REACH, size)[..., 3]
    rows, columns = np.nonzero(moved)
    assert (rows.mean(), columns.mean()) == pytest.approx((size / 2, size / 2), abs=1.0)


@pytest.mark.parametrize("nearer", ["first", "second"])
def test_the_nearer_of_two_hides_the_farther(nearer: str) -> None:
    heights = (25.0, -25.0) if nearer == "first" else (-25.0, 25.0)
    first, second = (isosurface(ball((0.0, 0.0, z), 18.0), 0.0, PIXEL) for z in heights)
    colours = np.concatenate([np.tile(RED, (len(first.vertices), 1)), np.tile(BLUE, (len(second.vertices), 1))])
    picture = draw_surface(joined(first, second), colours, FRONT, ORIGIN, REACH, 100)
    seen = picture[pixel_of(0.0, 0.0, 100)]
    assert (seen[0] > seen[2]) == (nearer == "first")
    from_behind = draw_surface(joined(first, second), colours, np.diag([-1.0, 1.0, -1.0]), ORIGIN, REACH, 100)
    seen = from_behind[pixel_of(0.0, 0.0, 100)]
    assert (seen[0] > seen[2]) == (nearer == "second")


def test_a_large_triangle_covers_its_area_and_no_more() -> None:
    size = 160
    corners = np.array([[-40.0, -30.0, 0.0], [45.0, -20.0, 0.0], [5.0, 50.0, 0.0]])
    surface = Surface(corners, np.array([[0, 1, 2]]), np.tile([0.0, 0.0, 1.0], (3, 1)))
    picture = draw_surface(surface, np.eye(3), FRONT, ORIGIN, REACH, size)
    (a, b), (c, d) = corners[1:, :2] - corners[0, :2]
    area = 0.5 * abs(a * d - b * c)
    assert picture[..., 3].sum() / 255.0 * (2.0 * REACH / size) ** 2 == pytest.approx(area, rel=0.01)
    for corner, colour in zip(corners, range(3), strict=True):
        x, y = 0.9 * corner[:2] + 0.1 * corners[:, :2].mean(axis=0)
        assert picture[pixel_of(x, y, size)][:3].argmax() == colour


def test_light_comes_from_the_upper_left() -> None:
    surface = isosurface(ball((0.0, 0.0, 0.0), 40.0), 0.0, PIXEL)
    picture = draw_surface(surface, np.full(3, 0.6), FRONT, ORIGIN, REACH, 120).astype(int)
    bright, dark = picture[pixel_of(-20.0, 20.0, 120)], picture[pixel_of(20.0, -20.0, 120)]
    assert (bright[:3] > dark[:3] + 30).all()


def test_a_pit_is_darker_than_a_plain() -> None:
    axis = np.linspace(-50.0, 50.0, 80)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    depth = np.where(np.hypot(x - 20.0, y) < 4.0, -20.0, 0.0)
    vertices = np.stack([x, y, depth], axis=-1).reshape(-1, 3)
    corner = (np.arange(79)[:, None] * 80 + np.arange(79)).ravel()
    faces = np.concatenate([corner[:, None] + [0, 1, 80], corner[:, None] + [81, 80, 1]])
    surface = Surface(vertices, faces, np.tile([0.0, 0.0, 1.0], (len(vertices), 1)))
    picture = draw_surface(surface, np.full(3, 0.6), FRONT, ORIGIN, REACH, 120).astype(int)
    assert picture[pixel_of(20.0, 0.0, 120)][0] < picture[pixel_of(-20.0, 0.0, 120)][0] - 10


def test_cameras_are_rotations_that_keep_the_z_axis_upright() -> None:
    for azimuth, elevation in ((0.0, 0.0), (40.0, 20.0), (200.0, -30.0)):
        camera = view_from(azimuth, elevation)
        assert camera @ camera.T == pytest.approx(np.eye(3), abs=1e-12) and np.linalg.det(camera) == pytest.approx(1.0)
        up = camera @ [0.0, 0.0, 1.0]
        assert up[0] == pytest.approx(0.0) and up[1] == pytest.approx(np.cos(np.radians(elevation)))
        assert up[2] == pytest.approx(np.sin(np.radians(elevation)))
    assert view_from(0.0, 90.0) == pytest.approx(np.eye(3))


def test_a_turn_brings_what_was_on_the_right_to_the_front() -> None:
    right, up, _ = FRONT
    np.testing.assert_allclose(turned(FRONT, 90.0) @ right, [0.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(turned(FRONT, 90.0) @ up, [0.0, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(turned(turned(FRONT, 130.0), 230.0), FRONT, atol=1e-12)


def test_a_surface_is_coloured_by_another_volume() -> None:
    surface = isosurface(ball((0.0, 0.0, 0.0), 30.0), 0.0, PIXEL)
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    along_x = np.broadcast_to(axis, (BOX, BOX, BOX)).astype(np.float32)
    assert values_at(surface, along_x, PIXEL) == pytest.approx(surface.vertices[:, 0], abs=1e-4)


def test_a_level_that_is_never_reached_gives_an_empty_picture() -> None:
    surface = isosurface(ball((0.0, 0.0, 0.0), 30.0), 1e3, PIXEL)
    assert not len(surface.faces)
    assert not draw_surface(surface, RED, FRONT, ORIGIN, REACH, 60).any()


def test_what_leaves_the_picture_is_cut_at_its_edge() -> None:
    surface = isosurface(ball((0.0, 0.0, 0.0), 50.0), 0.0, PIXEL)
    picture = draw_surface(surface, RED, FRONT, ORIGIN, 19.0, 60)
    assert (picture[..., 3] == 255).all()
    for shift in ([44.0, 0.0, 0.0], [-44.0, 0.0, 0.0], [0.0, 44.0, 0.0], [0.0, -44.0, 0.0]):
        opacity = draw_surface(surface, RED, FRONT, np.array(shift), 19.0, 60)[..., 3]
        across = opacity.mean(axis=0 if shift[0] else 1)
        towards = across if shift[0] < 0 or shift[1] > 0 else across[::-1]
        assert (towards[:12] == 0).all() and (towards[-15:] == 255).all()
    assert not draw_surface(surface, RED, FRONT, np.array([500.0, 0.0, 0.0]), 19.0, 60).any()
