"""Maps of colours: where they say nothing, the nearest voxel speaks; absent ones are not offered."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map, write_map
from dynaflex.run.ledger import Ledger
from dynaflex.run.watched import WatchedRun
from dynaflex.viewer.answers.wire import unpack
from dynaflex.viewer.density.colourings import ColourMaps, Range
from dynaflex.viewer.density.window import Window
from dynaflex.viewer.opened import OpenedRun
from viewer.conftest import store_motion

FULL = Grid(24, 2.0)


def maps_with(folder: Path, values: np.ndarray) -> ColourMaps:
    (folder / "maps").mkdir()
    write_map(folder / "maps" / "local_resolution.mrc", values.astype(np.float32), FULL.pixel_size)
    return ColourMaps(WatchedRun(folder))


@pytest.mark.parametrize("largest", [12, 20, 24, 34])
def test_edges_are_not_blurred_with_nothing(tmp_path: Path, largest: int) -> None:
    values = np.zeros((24, 24, 24))
    values[8:16, 6:17, 9:15] = 5.0
    window = Window.around(torch.tensor([[-14.0, -14, -14], [14, 14, 14]]), FULL, largest)
    found = maps_with(tmp_path, values).within("local_resolution", window)
    np.testing.assert_allclose(found, 5.0, rtol=1e-5)


def test_what_is_known_stays_and_what_is_not_is_the_nearest(tmp_path: Path) -> None:
    values = np.zeros((24, 24, 24))
    values[:, :, 8:12], values[:, :, 12:16] = 3.0, 7.0
    window = Window.around(torch.tensor([[-16.0, -16, -16], [16, 16, 16]]), FULL, 24)
    found = maps_with(tmp_path, values).within("local_resolution", window)
    x = window.points()[:, 0].view((window.grid.box,) * 3).numpy() / FULL.pixel_size + FULL.center
    assert np.allclose(found[x < 11], 3.0) and np.allclose(found[x > 12], 7.0)


def test_a_map_of_nothing_is_zero(tmp_path: Path) -> None:
    window = Window.around(torch.tensor([[-9.0, -9, -9], [9, 9, 9]]), FULL, 24)
    assert not maps_with(tmp_path, np.zeros((24, 24, 24))).within("local_resolution", window).any()


def test_every_place_moves_as_the_nearest_point_that_is_known(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    points = random.uniform(-15, 15, size=(40, 3)).astype(np.float32)
    moves = random.uniform(0, 9, size=40).astype(np.float32)
    store_motion(tmp_path, points=points, rms_displacement=moves)
    maps = ColourMaps(WatchedRun(tmp_path))
    assert maps.names() == ["rms_displacement"]
    window = Window.around(torch.tensor([[-16.0, -16, -16], [16, 16, 16]]), FULL, 24)
    found = maps.within("rms_displacement", window).reshape(-1)
    nearest = np.linalg.norm(window.points().numpy()[:, None] - points, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found, moves[nearest])
    assert Range.of("rms_displacement", found).low == 0.0
    # A run that goes on is read again.
    store_motion(tmp_path, points=points[:1], rms_displacement=np.full(1, 7.0))
    assert (maps.within("rms_displacement", window) == 7.0).all()


def test_scales_hold_what_is_seen() -> None:
    values = np.linspace(4.0, 24.0, 1001, dtype=np.float32)
    resolution, error = Range.of("local_resolution", values), Range.of("deformation_error", values)
    assert resolution.low == pytest.approx(4.4, abs=0.05) and resolution.high == pytest.approx(23.6, abs=0.05)
    assert resolution.limits == (4.0, 24.0) and error.limits == (0.0, 24.0) and error.low == 0.0
    flat = Range.of("local_resolution", np.full(5, 3.0, np.float32))
    assert flat.low < flat.high <= flat.most
    nothing = Range.of("deformation_error", np.zeros(0, np.float32))
    assert nothing.low < nothing.high


def test_absent_maps_are_not_offered(brief_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    names = ["rms_displacement", "deformation_error", "local_resolution"]
    assert [one["id"] for one in OpenedRun(run).summary()["colours"]] == names
    for name in ("maps/deformation_error.mrc", "motion.npz"):
        Ledger(run).forget(name)
    opened = OpenedRun(run)
    assert [one["id"] for one in opened.summary()["colours"]] == names[2:]
    asked = opened.conformations()
    shown = asked.of(1, opened.particles().mean[0])
    for unknown in ("deformation_error", "rms_displacement", "../maps/map", "density"):
        with pytest.raises(KeyError):
            asked.packed(1, shown, "fine", unknown)


def test_a_message_has_what_was_asked_for(brief_run: Path) -> None:
    opened = OpenedRun(brief_run)
    asked = opened.conformations()
    shown = asked.of(1, opened.particles().mean[0])
    for colour, more in ((None, ()), ("displacement", ("arrows",)), ("local_resolution", ("arrows", "parts"))):
        header, rest = unpack(asked.packed(1, shown, "coarse", colour, more))
        assert header["layers"] == ["density", *(["colour"] if colour else []), *more]
        assert (header["colour"] or {}).get("id") == colour and len(header["arrays"]) == len(header["layers"])
        assert header["colour"] is None or header["colour"]["unit"] == "Å"
        sizes = [np.prod(one["shape"]) * np.dtype(one["dtype"]).itemsize for one in header["arrays"]]
        assert len(rest) == sum(-(-int(size) // 8) * 8 for size in sizes)
    with pytest.raises(KeyError):
        asked.packed(1, shown, "fine", None, ("latents",))


def test_parts_know_what_the_maps_say_where_they_rest(brief_run: Path) -> None:
    opened = OpenedRun(brief_run)
    header, rest = unpack(opened.conformations().parts(1))
    arrays, offset = {}, 0
    for name, one in zip(header["layers"], header["arrays"], strict=True):
        count = int(np.prod(one["shape"]))
        arrays[name] = np.frombuffer(rest, one["dtype"], count, offset).reshape(one["shape"])
        offset += -(-arrays[name].nbytes // 8) * 8
    assert header["kind"] == "gaussians" and len(arrays["rest"]) == header["total"] == 80
    stored = read_map(brief_run / "maps" / "local_resolution.mrc")
    place = np.rint(arrays["rest"] / stored.pixel_size + stored.box // 2).astype(int)
    nearest = stored.data[place[:, 2], place[:, 1], place[:, 0]]
    known = nearest > 0
    assert known.mean() > 0.5
    wrong = np.abs(arrays["local_resolution"] - nearest)[known]
    assert np.median(wrong) < 0.1 * np.median(nearest[known])
