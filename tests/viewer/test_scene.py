"""What a run answers: volumes in their places, maps without a model, curves, verdicts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.cli.view import verdicts
from dynaflex.io.mrc import read_map, write_map
from dynaflex.pipelines import lock
from dynaflex.pipelines.run import LOCK
from dynaflex.viewer.scene import Scene
from dynaflex.viewer.wire import unpack


def volume(message: bytes) -> tuple[dict[str, object], np.ndarray]:
    """The header and the density of a message."""
    header, rest = unpack(message)
    (nz, ny, nx) = header["arrays"][0]["shape"]
    values = np.frombuffer(rest, "<u2", nz * ny * nx).reshape(nz, ny, nx) * header["step"]
    return header, values


def test_a_cropped_volume_lies_where_it_was(brief_run: Path) -> None:
    scene = Scene(brief_run)
    decoder = scene.decoder(1)
    z = decoder.trained.latents.mean[0].numpy()
    header, density = volume(scene.conformation(1, z, "fine"))
    whole = decoder.conformation(z, "fine")
    points = whole.window.points().reshape(*whole.density.shape, 3).numpy()
    weight = np.where(whole.density > decoder.level, whole.density, 0.0)[..., None]
    expected = (points * weight).sum(axis=(0, 1, 2)) / weight.sum()
    nz, ny, nx = density.shape
    axes = [header["origin"][i] + header["pixel_size"] * np.arange(n) for i, n in enumerate((nx, ny, nz))]
    weight = np.where(density > decoder.level, density, 0.0)
    found = [(weight.sum(axis=tuple({0, 1, 2} - {2 - i})) * axes[i]).sum() / weight.sum() for i in range(3)]
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert density.max() == pytest.approx(whole.density.max(), rel=1e-5)


def test_maps_are_shown_without_a_model(brief_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    with_model, _ = volume(Scene(run).map("corrected", None))
    shutil.rmtree(run / "checkpoints")
    scene = Scene(run)
    header, density = volume(scene.map("corrected", None))
    assert header["side"] == np.eye(3).flatten().tolist() != with_model["side"]
    assert header["origin"] == with_model["origin"] and density.max() > header["level"] > 0
    with pytest.raises(KeyError):
        scene.map("other", None)
    with pytest.raises(KeyError):
        scene.map("rigid", "../config")


def test_a_moved_map_is_shown_moved(brief_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    before, _ = volume(Scene(run).map("corrected", None))
    for half in (1, 2):
        path = run / "maps" / f"map_half{half}.mrc"
        stored = read_map(path)
        write_map(path, np.roll(stored.data, 2, axis=2), stored.pixel_size)
    after, _ = volume(Scene(run).map("corrected", None))
    shift = np.subtract(after["origin"], before["origin"])
    np.testing.assert_allclose(shift, [2 * stored.pixel_size, 0, 0], atol=1.01 * before["pixel_size"])


def test_a_path_is_that_of_the_volumes_command(brief_run: Path) -> None:
    from dynaflex.pipelines.volumes import along_axis

    scene = Scene(brief_run)
    latents = scene.decoder(2).trained.latents.mean
    torch.testing.assert_close(torch.tensor(scene.path_along(2, 1, 5)), along_axis(latents, 1, 5))


def test_metrics_are_read_on_from_where_they_ended(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"method": "flex"}')
    metrics = tmp_path / "metrics.jsonl"
    scene = Scene(tmp_path)
    assert scene.progress(0)["lines"] == [] and scene.version() is None
    metrics.write_text('{"epoch": 1}\n{"epoch": 2, "x": [1]}\n{"epo')
    first = scene.progress(0)
    assert first["lines"] == [{"epoch": 1}, {"epoch": 2}] and not first["restarted"]
    with metrics.open("a") as stream:
        stream.write('ch": 3}\n')
    assert scene.progress(first["next"])["lines"] == [{"epoch": 3}]
    metrics.write_text('{"epoch": 1}\n')
    again = scene.progress(first["next"])
    assert again["restarted"] and again["lines"] == [{"epoch": 1}]


def test_a_run_is_at_work_while_a_living_process_holds_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"method": "flex"}')
    scene = Scene(tmp_path)
    assert not scene.progress(0)["working"]
    with lock.locked(tmp_path / LOCK, lambda _message: None):
        assert scene.progress(0)["working"]
        left = (tmp_path / LOCK).read_text()
    # What a process leaves that was killed: its lock, under a number that nobody has.
    dead = {**json.loads(left), "pid": 2**22 + 1}
    (tmp_path / LOCK).write_text(json.dumps(dead))
    assert not scene.progress(0)["working"]


def test_verdicts_are_the_sentences_of_the_report(brief_run: Path, tmp_path: Path) -> None:
    found = verdicts(brief_run)
    assert any("half-maps" in one["text"] or "resolution" in one["text"] for one in found)
    assert {one["kind"] for one in found} <= {"note", "warning"}
    assert verdicts(tmp_path) == []
