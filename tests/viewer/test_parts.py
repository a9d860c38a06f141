"""What is shown beside the surface is where the model says it is, and arrows begin evenly over the molecule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.results.trained import load_half
from dynaflex.run.watched import WatchedRun
from dynaflex.viewer.density import parts as viewer_parts
from dynaflex.viewer.density.decoder import Decoder
from dynaflex.viewer.density.parts import Parts, outer_faces, spread_over

TWO_CELLS = np.array([[0, 1, 2, 3], [1, 2, 3, 4]])
CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def decoder(request: pytest.FixtureRequest, brief_of: Callable[..., tuple[Path, object]]) -> Decoder:
    run = request.getfixturevalue("brief_run") if request.param == "dynamight" else brief_of("flex")[0]
    watched = WatchedRun(run)
    return Decoder(watched, load_half(watched, 2))


def test_parts_are_where_the_model_puts_them(decoder: Decoder) -> None:
    z = 1.5 * decoder.trained.latents.mean.std(dim=0)
    found = decoder.parts_at(z.numpy())
    assert decoder.parts is not None
    deformation = decoder.trained.model.deformation
    if isinstance(deformation, MeshFlow):
        assert decoder.parts.kind == "mesh" and decoder.parts.radius == 0.0
        expected = deformation.vertices + deformation.vertex_displacement(z[None])[0]
    else:
        assert decoder.parts.kind == "gaussians" and decoder.parts.radius > 0.0
        rest = decoder.trained.model.density.points()
        expected = rest + decoder.trained.displacements(z[None], rest)[0]
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-3)
    assert np.abs(found - decoder.parts.rest.numpy()).max() > 0.1


def test_many_gaussians_are_thinned_and_counted(brief_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_parts, "MOST_GAUSSIANS", 30)
    trained = load_half(WatchedRun(brief_run), 1)
    thinned = Parts.of(trained)
    assert thinned is not None
    assert thinned.total == 80 and 20 <= len(thinned.rest) <= 30
    assert len(thinned.places(trained.latents.mean[0])) == len(thinned.rest)


def test_arrows_go_from_the_surface_at_rest_as_the_model_moves_it(decoder: Decoder) -> None:
    z = 1.5 * decoder.trained.latents.mean.std(dim=0)
    arrows = torch.from_numpy(decoder.arrows_to(z.numpy()))
    expected = decoder.trained.displacements(z[None], arrows[:, :3].contiguous())[0]
    torch.testing.assert_close(arrows[:, 3:], expected, rtol=1e-3, atol=1e-3)
    assert 100 <= len(arrows) <= 300


def signed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("decoder", ["flex"], indirect=True)
def test_the_outer_faces_enclose_the_cells(decoder: Decoder) -> None:
    deformation = decoder.trained.model.deformation
    assert decoder.parts is not None and isinstance(deformation, MeshFlow)
    cells = float(deformation.mesh.volumes().sum())
    found = signed_volume(deformation.vertices.double().numpy(), decoder.parts.faces)
    assert found == pytest.approx(cells, rel=1e-6) and cells > 0


def test_segments_have_outer_faces_of_their_own() -> None:
    # Positively oriented, as validated meshes are.
    cells = TWO_CELLS.copy()
    edges = CORNERS[cells[:, 1:]] - CORNERS[cells[:, :1]]
    cells[np.linalg.det(edges) < 0] = cells[np.linalg.det(edges) < 0][:, [0, 2, 1, 3]]
    whole = np.abs(np.linalg.det(edges)).sum() / 6
    for segment, count in (([4, 4], 6), ([7, 2], 8)):
        faces, own = outer_faces(cells, np.array(segment))
        assert len(faces) == count and signed_volume(CORNERS, faces) == pytest.approx(whole)
        assert sorted(set(own.tolist())) == list(range(len(set(segment))))


def test_points_are_spread_evenly_over_the_largest_parts() -> None:
    axes = np.arange(24, dtype=np.float32)
    z, y, x = np.meshgrid(axes, axes, axes, indexing="ij")
    ball = np.maximum(0.0, 9.0 - np.sqrt((x - 11) ** 2 + (y - 11) ** 2 + (z - 11) ** 2))
    ball[0, 0, 0] = 5.0  # a speck, further from the rest than anything else
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    chosen = spread_over(ball.astype(np.float32), 1.0, points, 60)
    assert len(chosen) == 60
    away = np.linalg.norm(chosen - 11, axis=1)
    assert away.min() > 6.5 and away.max() <= 8.0
    apart = np.linalg.norm(chosen[:, None] - chosen[None], axis=2) + 99 * np.eye(60)
    shell = points[(np.abs(np.linalg.norm(points - 11, axis=1) - 7.5) < 0.5)]
    covered = np.linalg.norm(shell[:, None] - chosen[None], axis=2).min(axis=1)
    # Nothing is further from all of them than any two are from each other.
    assert covered.max() <= apart.min() + 1.0
    assert len(spread_over(ball.astype(np.float32), 99.0, points)) == 0
