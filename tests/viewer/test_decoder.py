"""A live conformation is that of the model, for both methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.pipelines.volumes import map_at_rest
from dynaflex.reconstruct.convect import convect
from dynaflex.viewer.decoder import Decoder, seen_across
from dynaflex.viewer.watched import WatchedRun


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def decoder(request: pytest.FixtureRequest, brief_of: Callable[..., tuple[Path, object]]) -> tuple[WatchedRun, Decoder]:
    run = request.getfixturevalue("brief_run") if request.param == "dynamight" else brief_of("flex")[0]
    watched = WatchedRun(run)
    return watched, Decoder(watched, 1)


def test_every_voxel_moves_as_the_model_says(decoder: tuple[WatchedRun, Decoder]) -> None:
    _, live = decoder
    z = 1.5 * live.trained.latents.mean.std(dim=0)
    for carrier in live.carriers.values():
        expected = live.trained.displacements(z[None], carrier.points)[0]
        torch.testing.assert_close(carrier.moves(z), expected, rtol=1e-4, atol=1e-4)


def test_the_conformation_is_that_of_the_volumes_command(decoder: tuple[WatchedRun, Decoder]) -> None:
    run, live = decoder
    z = 1.5 * live.trained.latents.mean.std(dim=0)
    volume, grid = map_at_rest(run, live.trained)
    whole = convect(volume, grid, live.trained.displacements, z)
    for size in ("fine", "coarse"):
        found = live.conformation(z.numpy(), size)
        expected = found.window.cut(whole).numpy()
        inside = found.density > live.level
        assert inside.sum() > 100
        assert np.corrcoef(found.density[inside], expected[inside])[0, 1] > 0.97


def test_nothing_is_written_by_looking(decoder: tuple[WatchedRun, Decoder]) -> None:
    run, _ = decoder
    run.warn("a checkpoint is damaged")
    run.log("nothing")
    assert run.notices[-1:] == ["a checkpoint is damaged"] and "a checkpoint" not in (run.path / "log.txt").read_text()
    with pytest.raises(PermissionError):
        run.write_provenance(warnings=[])


def test_the_camera_looks_across_the_motion() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 3, generator=generator) * torch.tensor([10.0, 30.0, 5.0])
    moved = torch.linspace(-3, 3, 7)[:, None, None] * torch.tensor([0.2, 0.0, 1.0]) * torch.ones(200, 1)
    camera = torch.tensor(seen_across(moved, points)).view(3, 3)
    torch.testing.assert_close(camera @ camera.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(camera) > 0.99
    assert abs(float(camera[2] @ torch.tensor([0.2, 0.0, 1.0]))) < 0.05
    assert abs(float(camera[1, 1])) > 0.95
