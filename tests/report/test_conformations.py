"""Laws of the conformations a report shows: they are those of the model, seen from where they differ most."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.report.drawing import film, pictures
from dynaflex.report.drawing.conformations import (
    carried,
    contour,
    draw_conformations,
    without_islands,
)
from dynaflex.report.drawing.film import Film
from dynaflex.report.drawing.surface import isosurface
from dynaflex.report.evidence import Evidence
from dynaflex.report.views import Moving, Views
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def made(request: pytest.FixtureRequest, brief_of: Callable[..., Any]) -> Path:
    """A brief run of either method."""
    run, outcome = brief_of(request.param)
    assert outcome.code == 0, outcome.err
    return run


@pytest.fixture
def brief(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_conformations_of_both_methods_are_those_of_the_model(brief: Path, page_of: Callable[[Path], Any]) -> None:
    found = Moving.of(brief, np.eye(3)).five
    trained = load_half(Run.open(brief), 1)
    middle = trained.latents.mean.mean(dim=0)[None]
    rest = torch.from_numpy(np.ascontiguousarray(found.surface.vertices, np.float32))
    expected = rest + trained.displacements(middle, rest)[0]
    np.testing.assert_allclose(found.moved[2], expected.numpy(), atol=1e-3)
    masses = found.projections.sum(axis=(1, 2))
    np.testing.assert_allclose(masses, masses[2], rtol=1e-4)
    across = Evidence(brief).camera
    assert np.array_equal(Moving.of(brief, across).surface.camera, across)
    page = page_of(brief)
    assert {"conformations", "film-motion", "film-maps", "domains"} <= set(page.identifiers)
    assert "the model of half 1" in page.text and "turns by" in page.text
    assert "No figure here" not in page.text and "cannot be shown" not in page.text
    assert "not complete" not in page.text


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_its_checkpoints_says_so(brief: Path, page_of: Callable[[Path], Any]) -> None:
    shutil.rmtree(brief / "checkpoints")
    page = page_of(brief)
    assert "checkpoints: not in the run directory" in page.text and "conformations" not in page.identifiers
    (brief / "checkpoints").mkdir()
    with pytest.raises(UsageError):
        Moving.of(brief, np.eye(3))
    assert "checkpoints: cannot be read" in page_of(brief).text


@pytest.mark.usefixtures("undrawn")
def test_all_pictures_of_a_run_face_one_way(brief: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Evidence(brief)
    cameras = []

    def filmed(_: object, __: object, ___: object, camera: np.ndarray, *rest: object) -> Film:
        cameras.append(camera)
        return film.film_of_motion()

    monkeypatch.setattr(film, "film_of_maps", filmed)
    views = Views(shown)
    list(views.compared())
    cameras += [views.moving.five.camera, views.moving.surface.camera]
    monkeypatch.setattr(pictures, "draw_motion", lambda *given: cameras.append(given[-1]))
    shown._draw_motion(shown.motion)
    assert len(cameras) == 4 and all(np.array_equal(camera, shown.camera) for camera in cameras)


def test_islands_are_taken_away() -> None:
    volume = np.zeros((24, 24, 24), dtype=np.float32)
    volume[6:16, 6:16, 6:16] = 1.0
    volume[20, 20, 20] = 5.0
    shown = without_islands(volume, 0.5)
    assert shown[20, 20, 20] <= 0.5 and ((shown > 0.5) == (volume == 1.0)).all()


def test_the_contour_encloses_the_molecule() -> None:
    grid = Grid(32, 4.0)
    ball = (grid.radius_of_points() < 30.0).float().reshape((32,) * 3)
    noise = 0.1 * torch.randn(ball.shape, generator=torch.Generator().manual_seed(0))
    inside = ball + noise > contour(ball + noise, grid, 20.0)
    assert inside[ball > 0].float().mean() > 0.95
    assert 1.0 < float(inside.sum() / ball.sum()) < 1.5
    with pytest.raises(InputError, match="no molecule"):
        contour(torch.zeros_like(ball), grid, 20.0)


def test_a_carried_surface_turns_its_normals_with_it() -> None:
    axis = np.arange(24) - 12.0
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    surface = isosurface((8.0 - np.sqrt(x**2 + 2 * y**2 + z**2)).astype(np.float32), 0.0, 1.0)
    still = carried(surface, surface.vertices)
    for turn in (np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.diag([-1.0, -1.0, 1.0])):
        turned = carried(surface, surface.vertices @ turn.T)
        np.testing.assert_allclose(turned.normals, still.normals @ turn.T, atol=1e-9)
    assert ((still.normals * surface.normals).sum(axis=1) > 0.8).all()


def test_the_picture_names_its_conformations(brief: Path) -> None:
    picture = draw_conformations(Moving.of(brief, np.eye(3)).five).svg().decode()
    for name in ("−2 sd", "−1 sd", "mean", "+1 sd", "+2 sd"):
        assert name in picture
