"""A live conformation is that of the model, for both methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.reconstruct.field import NEAR
from dynaflex.results.trained import load_half
from dynaflex.results.volumes import carried_map
from dynaflex.run.watched import WatchedRun
from dynaflex.viewer.density.decoder import Decoder


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def decoder(request: pytest.FixtureRequest, brief_of: Callable[..., tuple[Path, object]]) -> tuple[WatchedRun, Decoder]:
    run = request.getfixturevalue("brief_run") if request.param == "dynamight" else brief_of("flex")[0]
    watched = WatchedRun(run)
    return watched, Decoder(watched, load_half(watched, 1))


def test_every_voxel_moves_as_the_model_says(decoder: tuple[WatchedRun, Decoder]) -> None:
    _, live = decoder
    z = 1.5 * live.trained.latents.mean.std(dim=0)
    for carrier in live.carriers.values():
        home = live.trained.model.density.home()
        near = torch.cdist(carrier.map.points, home).amin(dim=1) < NEAR - 1.0
        expected = carrier.map.points + live.trained.displacements(z[None], carrier.map.points)[0]
        torch.testing.assert_close(carrier.map.places(z)[near], expected[near], rtol=1e-4, atol=1e-4)


def test_the_conformation_is_that_of_the_volumes_command(decoder: tuple[WatchedRun, Decoder]) -> None:
    run, live = decoder
    z = 1.5 * live.trained.latents.mean.std(dim=0)
    whole = carried_map(run, live.trained).at(z)
    for size in ("fine", "coarse"):
        found = live.conformation(z.numpy(), size)
        expected = found.window.cut(whole).numpy()
        inside = found.density > live.level
        assert inside.sum() > 100
        assert np.corrcoef(found.density[inside], expected[inside])[0, 1] > 0.97


def test_a_quantity_goes_where_its_material_goes(
    decoder: tuple[WatchedRun, Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turned and shifted, a map that holds the place at rest says where the material of each voxel came from."""
    carrier = decoder[1].carriers["fine"]
    turn = torch.tensor([[0.94, -0.342, 0.0], [0.342, 0.94, 0.0], [0.0, 0.0, 1.0]])
    rest_at, center = carrier.map.points, carrier.window.center
    arrived = (rest_at - center) @ turn.T + center + torch.tensor([4.0, -7.0, 9.0])
    monkeypatch.setattr(carrier.map, "places", lambda _latents: arrived)
    dense = carrier.map.mass > decoder[1].level
    for axis in range(3):
        rest = carrier.window.points()[:, axis].view((carrier.window.grid.box,) * 3).numpy()
        found = carrier.carried(torch.zeros(1), False, rest)
        assert found.quantity is not None
        wrong = found.window.read(found.quantity, arrived[dense]) - rest_at[dense, axis].numpy()
        assert np.median(np.abs(wrong)) < 0.3 * found.window.grid.pixel_size
        assert np.median(np.abs((arrived - rest_at)[dense, axis].numpy())) > found.window.grid.pixel_size


def test_at_rest_a_map_of_colours_is_shown_as_it_is(decoder: tuple[WatchedRun, Decoder]) -> None:
    _, live = decoder
    at_rest = live.trained.latents.mean[0] * 0.0
    for name in live.colours.names():
        found = live.conformation(at_rest.numpy(), "fine", name)
        assert found.quantity is not None
        fine = live.carriers["fine"].map
        expected = live.colours.within(name, found.window).reshape(-1)[fine.voxels.numpy()]
        dense, arrived = (fine.mass > live.level).numpy(), fine.places(at_rest)
        seen = found.window.read(found.quantity, arrived)
        assert np.median(np.abs(seen - expected)[dense]) <= 0.05 * max(float(np.ptp(expected[dense])), 1e-3)
    assert live.colours.names() == ["rms_displacement", "deformation_error", "local_resolution"]
    with pytest.raises(KeyError):
        live.conformation(at_rest.numpy(), "fine", "../config")


def test_nothing_is_written_by_looking(decoder: tuple[WatchedRun, Decoder]) -> None:
    run, _ = decoder
    run.warn("a checkpoint is damaged")
    run.log("nothing")
    assert run.notices[-1:] == ["a checkpoint is damaged"] and "a checkpoint" not in (run.path / "log.txt").read_text()
    with pytest.raises(PermissionError):
        run.write_provenance(warnings=[])
