"""What a run answers: volumes in their places, maps without a model, curves, verdicts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.io.mrc import read_map, write_map
from dynaflex.report.verdicts import verdicts
from dynaflex.viewer.scene import Scene
from dynaflex.viewer.wire import unpack
from viewer.conftest import PARTICLES


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


def test_a_motion_that_came_after_the_latents_is_seen(hollow: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(hollow, run)
    scene = Scene(run)
    before = scene.state()
    assert "displacement" not in {column["identifier"] for column in scene.summary()["particles"]["columns"]}
    np.savez(run / "motion.npz", displacement_norm=np.ones(PARTICLES))
    assert "displacement" in {column["identifier"] for column in scene.summary()["particles"]["columns"]}
    assert scene.state() != before


def test_verdicts_are_the_sentences_of_the_report(brief_run: Path, tmp_path: Path) -> None:
    found = verdicts(brief_run)
    assert any("half-maps" in one["text"] or "resolution" in one["text"] for one in found)
    assert {one["kind"] for one in found} <= {"note", "warning"}
    assert verdicts(tmp_path) == []
