"""Directions of view: what is missing is told, and what is merely preferred is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dynaflex.data.particles import read_particles
from dynaflex.data.views import Views, views_of
from dynaflex.io.star import read_star, write_star
from dynaflex.rotations import euler_to_matrix

Draw = Callable[[np.random.Generator, int], np.ndarray]


def tilted(lowest: float, highest: float) -> Draw:
    """Views between two angles to the z axis, in degrees, evenly over the sphere there."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.degrees(np.arccos(rng.uniform(*np.cos(np.radians([highest, lowest])), n)))

    return draw


def tilts(rng: np.random.Generator, n: int) -> np.ndarray:
    """All angles of a goniometer that turns all the way round."""
    return rng.uniform(0.0, 180.0, n)


def preferring(share: float) -> Draw:
    """A ``share`` of the particles within 10° of the z axis, the others from everywhere."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.where(rng.random(n) < share, tilted(0, 10)(rng, n), tilted(0, 180)(rng, n))

    return draw


def found(draw: Draw, n: int, seed: int = 0, turn: Rotation | None = None, rot: float = 180.0) -> Views:
    """The views of ``n`` particles whose tilt is drawn, at any psi, in a map that is turned."""
    rng = np.random.default_rng(seed)
    angles = np.stack([rng.uniform(-rot, rot, n), draw(rng, n), rng.uniform(-180, 180, n)], axis=1)
    rotation = euler_to_matrix(torch.from_numpy(np.deg2rad(angles))).numpy()
    views = views_of(rotation if turn is None else rotation @ turn.as_matrix().T)
    assert views is not None
    return views


@pytest.mark.parametrize("n", [60, 500, 20_000])
@pytest.mark.parametrize(
    ("draw", "rot"),
    [(tilted(0, 180), 180.0), (tilted(70, 110), 180.0), (tilted(85, 95), 180.0), (tilts, 1.0)],
    ids=["everywhere", "side views", "strict side views", "one axis of tilt"],
)
def test_what_samples_all_directions_is_fine(draw: Draw, rot: float, n: int) -> None:
    for seed in range(5):
        views = found(draw, n, seed, Rotation.random(random_state=seed), rot)
        assert views.warning("half 1") is None
        assert views.missing < 0.02 and views.efficiency > 0.4


def test_efficiency_is_that_of_closed_forms() -> None:
    """1 for even views; for side views the density is 1 / (2/π · 1/sin), whose harmonic mean is 8 / π²."""
    assert found(tilted(0, 180), 20_000).efficiency == pytest.approx(1.0, abs=0.02)
    assert found(tilted(89.5, 90.5), 20_000).efficiency == pytest.approx(8.0 / np.pi**2, abs=0.03)


@pytest.mark.parametrize("widest", [0.01, 20.0, 45.0, 60.0])
@pytest.mark.parametrize("n", [40, 300, 20_000])
def test_a_missing_cone_is_measured_and_its_axis_named(widest: float, n: int) -> None:
    """Views within an angle of an axis leave out a cone of the rest of the right angle about it."""
    turn = Rotation.random(random_state=3)
    views = found(tilted(0, widest), n, turn=turn)
    cone = 1.0 - np.sin(np.radians(widest))
    width = max(0.06, 10.0 / n)
    assert cone - 2.0 * width < views.missing < cone + 0.02
    text = views.warning("half 2")
    if n > 40 or widest < 60.0:
        assert text is not None and text.startswith("half 2 has no views for") and "directions" in text
        axis = turn.apply([0.0, 0.0, 1.0])
        assert abs(views.axis @ axis) > 0.95
        assert f"{views.axis[0]:.2f}, {views.axis[1]:.2f}, {views.axis[2]:.2f}" in text


def test_a_missing_wedge_is_found() -> None:
    views = found(lambda rng, n: rng.uniform(-50.0, 50.0, n), 2000, rot=0.0)
    assert views.warning("half 1") is not None
    # The wedge between the last tilts: 80° of 180° along the equator, less towards the axis of tilt.
    assert 0.3 < views.missing < 80.0 / 180.0


@pytest.mark.parametrize(("share", "told"), [(0.3, False), (0.6, False), (0.9, True), (0.99, True)])
def test_a_preference_is_told_only_where_directions_are_hardly_sampled(share: float, told: bool) -> None:
    for seed in range(3):
        assert (found(preferring(share), 5000, seed).warning("half 1") is not None) == told


def test_few_particles_say_nothing() -> None:
    assert views_of(np.stack([np.eye(3)] * 29)) is None


def test_reading_a_table_tells_of_its_halves(few: Path, tmp_path: Path) -> None:
    star = read_star(few / "particles.star")
    table = star.blocks["particles"]
    assert not any("views" in warning for warning in read_particles(few / "particles.star").warnings)
    table.loc[table["rlnRandomSubset"] == "2", "rlnAngleTilt"] = "12.0"
    write_star(star, tmp_path / "particles.star")
    warnings = read_particles(tmp_path / "particles.star", datadir=few).warnings
    (told,) = (warning for warning in warnings if "views" in warning)
    assert told.startswith("half 2")
