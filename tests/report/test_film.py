"""Laws of the films in the page: every frame shows its state, to scale, and what is equal looks equal."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dynaflex.grid import Grid
from dynaflex.report.drawing import film as filming
from dynaflex.report.drawing.conformations import CarriedSurface
from dynaflex.report.drawing.film import Film, film_of_maps, film_of_motion, in_deviations
from dynaflex.report.drawing.surface import isosurface

GRID = Grid(32, 4.0)
SIDE = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def ball(radius: float = 20.0) -> np.ndarray:
    return (radius - GRID.radius_of_points()).reshape((GRID.box,) * 3).numpy()


def frames_of(film: Film) -> np.ndarray:
    """All frames ``(f h w 4)``."""
    sheet = np.asarray(Image.open(io.BytesIO(film.sheet)).convert("RGBA"), float)
    assert sheet.shape == (film.height * len(film.lines), film.width, 4)
    return sheet.reshape(len(film.lines), film.height, film.width, 4)


@pytest.fixture(scope="module")
def swaying() -> Film:
    """A ball that goes along x from -10 to +10 Å, seen along y."""
    surface = isosurface(ball(), 0.0, GRID.pixel_size)
    steps = np.linspace(-10.0, 10.0, 5)[:, None, None] * np.array([1.0, 0.0, 0.0])
    moved = surface.vertices + steps
    found = CarriedSurface(surface, moved, torch.from_numpy(ball()), 0.0, GRID, SIDE, np.zeros(3))
    return film_of_motion(found, in_deviations(np.linspace(-2.0, 2.0, 5)))


def test_a_place_moves_in_the_film_as_far_as_in_the_molecule(swaying: Film) -> None:
    wide = next(iter(swaying.panels.values()))
    across = [
        float(np.average(np.arange(wide), weights=frame[:, :wide, 3].sum(axis=0))) for frame in frames_of(swaying)
    ]
    angstrom = swaying.bar / (swaying.share * swaying.width)
    np.testing.assert_allclose(np.diff(across) * angstrom, 5.0, atol=0.3)


def test_from_the_side_nothing_is_seen_to_move_along_the_line_of_sight(swaying: Film) -> None:
    wide = next(iter(swaying.panels.values()))
    side = frames_of(swaying)[:, :, wide:, 3]
    assert np.abs(side - side[2]).mean() < 2.0


def test_colour_is_the_distance_from_the_middle_and_every_frame_says_it(swaying: Film) -> None:
    assert swaying.limit == pytest.approx(10.0)
    redness = [frame[..., 0][frame[..., 3] > 250].mean() - frame[..., 2][frame[..., 3] > 250].mean()
               for frame in frames_of(swaying)]  # fmt: skip
    assert redness[2] < 5.0 < 30.0 < min(redness[0], redness[4])
    assert swaying.lines[0] == "−2 standard deviations; up to 10.0 Å from the middle"
    assert swaying.lines[2].startswith("0 standard deviations; up to 0.0 Å")


def test_equal_maps_look_equal_and_another_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filming, "HEIGHT", 240)
    points, moves = np.random.default_rng(0).normal(scale=12.0, size=(50, 3)), np.linspace(0.0, 5.0, 50)
    film = film_of_maps((ball(), ball()), 0.0, GRID, SIDE, points, moves)
    frames = frames_of(film)
    assert len(frames) == filming.TURNS and film.limit == pytest.approx(5.0, abs=0.1)
    half = film.width // 2
    assert np.abs(frames[:, :, :half] - frames[:, :, half:]).mean() < 2.0
    smaller = film_of_maps((ball(), ball(12.0)), 0.0, GRID, SIDE, points, moves)
    wide = next(iter(smaller.panels.values()))
    opaque = frames_of(smaller)[..., 3] > 128
    assert opaque[:, :, wide:].sum() < 0.6 * opaque[:, :, :wide].sum()


def test_a_map_that_never_reaches_the_contour_is_an_empty_picture() -> None:
    points, moves = np.random.default_rng(0).normal(scale=12.0, size=(50, 3)), np.ones(50)
    film = film_of_maps((np.full_like(ball(), -1.0), ball()), 0.0, GRID, SIDE, points, moves)
    wide = next(iter(film.panels.values()))
    frames = frames_of(film)
    assert not frames[:, :, :wide, 3].any() and frames[:, :, wide:, 3].any()
