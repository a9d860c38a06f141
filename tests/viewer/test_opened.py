"""What a run answers: volumes in their places, maps without a model, curves, verdicts."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.errors import UsageError
from dynaflex.io.mrc import read_map, write_map
from dynaflex.report.facts.verdicts import verdicts
from dynaflex.results.volumes import along_axis, merged_map
from dynaflex.run.ledger import Ledger
from dynaflex.run.watched import WatchedRun
from dynaflex.viewer.answers.wire import unpack
from dynaflex.viewer.opened import OpenedRun
from dynaflex.viewer.particles import motion as motion_of_run
from dynaflex.viewer.particles.motion import Motion
from viewer.conftest import store_motion


def volume(message: bytes) -> tuple[dict[str, object], np.ndarray]:
    """The header and the density of a message."""
    header, rest = unpack(message)
    (nz, ny, nx) = header["arrays"][0]["shape"]
    values = np.frombuffer(rest, "<u2", nz * ny * nx).reshape(nz, ny, nx) * header["step"]
    return header, values


def test_a_cropped_volume_lies_where_it_was(brief_run: Path) -> None:
    opened = OpenedRun(brief_run)
    asked, decoder = opened.conformations(), opened.stage().decoder(1)
    z = decoder.trained.latents.mean[0].numpy()
    header, density = volume(asked.packed(1, asked.of(1, z), "fine"))
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
    with_model, _ = volume(OpenedRun(run).map("corrected", None))
    shutil.rmtree(run / "checkpoints")
    opened = OpenedRun(run)
    header, density = volume(opened.map("corrected", None))
    assert header["side"] == np.eye(3).flatten().tolist() != with_model["side"]
    assert header["origin"] == with_model["origin"] and density.max() > header["level"] > 0
    with pytest.raises(KeyError):
        opened.map("other", None)
    with pytest.raises(KeyError):
        opened.map("rigid", "../config")


@pytest.mark.parametrize("name", ["rigid", "corrected", "rigid1", "rigid2", "corrected1", "corrected2"])
def test_planes_are_those_of_the_whole_map(brief_run: Path, name: str) -> None:
    opened = OpenedRun(brief_run)
    assert name in [one["id"] for one in opened.summary()["maps"]]
    kind, half = name.rstrip("12"), name[-1]
    stem = {"rigid": "rigid", "corrected": "map"}[kind]
    if half in "12":
        whole = read_map(brief_run / "maps" / f"{stem}_half{half}.mrc").data
    else:
        whole = merged_map(WatchedRun(brief_run), stem)[0].numpy()
    for axis, number in (("z", 0), ("y", 1), ("x", 2)):
        header, rest = unpack(opened.section(name, axis, 13))
        (shape,) = (one["shape"] for one in header["arrays"])
        counts = np.frombuffer(rest, "<u2", np.prod(shape)).reshape(shape)
        found = header["least"] + counts * header["step"]
        np.testing.assert_allclose(found, np.take(whole, 13, axis=number), atol=header["step"])
        assert header["box"] == len(whole) and header["low"] < header["high"]
    for axis, at in (("w", 1), ("", 1), ("x", len(whole)), ("x", 10**9)):
        with pytest.raises(KeyError):
            opened.section(name, axis, at)
    for unknown in ("", "1", "rigid3", "map", "../config", "corrected12"):
        with pytest.raises(KeyError):
            opened.section(unknown, "x", 1)


def test_a_moved_map_is_shown_moved(brief_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    before, _ = volume(OpenedRun(run).map("corrected", None))
    for name in ("map", "map_half1", "map_half2"):
        with Ledger(run).writing(f"maps/{name}.mrc") as path:
            stored = read_map(path)
            write_map(path, np.roll(stored.data, 2, axis=2), stored.pixel_size)
    after, _ = volume(OpenedRun(run).map("corrected", None))
    shift = np.subtract(after["origin"], before["origin"])
    np.testing.assert_allclose(shift, [2 * stored.pixel_size, 0, 0], atol=1.01 * before["pixel_size"])


def test_a_path_along_a_component_is_that_of_the_volumes_command(brief_run: Path) -> None:
    opened = OpenedRun(brief_run)
    latents = opened.stage().trained(2).latents.mean
    found = opened.conformations().path_along(2, "component2", 5)
    torch.testing.assert_close(torch.tensor(found), along_axis(latents, 1, 5))
    for wrong in ("component0", "component99", "motion0", "half", "1", ""):
        with pytest.raises(UsageError, match=r"view\.axis"):
            opened.conformations().path_along(2, wrong, 5)


@pytest.fixture(scope="module")
def moving(finished_run: Path) -> OpenedRun:
    return OpenedRun(finished_run)


@pytest.mark.parametrize("half", [1, 2])
def test_a_path_along_a_motion_runs_through_the_particles_in_one_sense(moving: OpenedRun, half: int) -> None:
    motion, particles = moving.stage().motion, moving.particles()
    assert motion is not None and motion.awaited() == 1.0
    path = np.array(moving.conformations().path_along(half, "motion1", 9), dtype=np.float32)
    along = motion.coordinates(half, path)[:, 0]
    own = motion.values[particles.half == half, 0]
    low, high = np.percentile(own, [2, 98])
    # Whichever sign the latents of a half have, it is the same motion; the ends are those of nearly all particles.
    assert (np.diff(along) > 0).all()
    np.testing.assert_allclose(along[[0, -1]], [low, high], atol=0.15 * (high - low))


def test_motion_is_shared_by_the_halves_and_measured_in_angstroms(moving: OpenedRun) -> None:
    stage = moving.stage()
    assert stage.motion is not None and stage.motion.awaited() == 1.0
    values, half = stage.motion.values, stage.particles.half
    spreads = [values[half == number, 0].std() for number in (1, 2)]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.3) and values[:, 0].std() > values[:, 1].std()
    # A value is a distance, rms over the landmarks, from the mean over the half.
    for number in (1, 2):
        trained, landmarks = stage.trained(number), stage.motion.frame.landmarks
        moved = trained.displacements(trained.latents.mean, landmarks)
        distance = (moved - moved.mean(dim=0)).square().sum(dim=2).mean(dim=1).sqrt().numpy()
        rows = {int(row): i for i, row in enumerate(trained.rows)}
        mine = np.flatnonzero(half == number)
        expected = distance[[rows[int(row)] for row in stage.particles.rows[mine]]]
        np.testing.assert_allclose(np.linalg.norm(values[mine], axis=1), expected, rtol=0.05, atol=0.05)


def test_particles_are_placed_a_few_at_a_time(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the motion of the rest is still sought, those that are placed can be seen, and the others are nowhere."""
    monkeypatch.setattr(motion_of_run, "_AT_ONCE", 50)
    monkeypatch.setattr(motion_of_run, "_PATIENCE", 0.0)
    reach, gate = Motion._reach, threading.Semaphore(0)
    monkeypatch.setattr(Motion, "_reach", lambda self, chosen: (gate.acquire(), reach(self, chosen)))
    opened = OpenedRun(finished_run)
    assert unpack(opened.column("motion1"))[0]["share"] == 0.0
    gate.release()
    found: dict[str, object] = {}
    for _ in range(200):
        if (found := unpack(opened.column("motion1"))[0])["share"]:
            break
        time.sleep(0.02)
    motion = opened.stage().motion
    assert motion is not None and found["share"] == pytest.approx(50 / 400)
    assert np.isfinite(motion.values[:, 0]).sum() == 50
    # A place is still that of particles that are known.
    assert np.isfinite(opened.conformations().at(1, ("motion1", "motion2"), (0.0, 0.0)).latents).all()
    gate.release(100)
    monkeypatch.setattr(motion_of_run, "_PATIENCE", 30.0)
    assert unpack(opened.column("motion1"))[0]["share"] == 1.0 and np.isfinite(motion.values).all()


def test_a_motion_that_came_after_the_latents_is_seen(hollow: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(hollow, run)
    opened = OpenedRun(run)
    before = opened.state()
    assert "displacement" not in {column["identifier"] for column in opened.summary()["particles"]["columns"]}
    store_motion(run)
    assert "displacement" in {column["identifier"] for column in opened.summary()["particles"]["columns"]}
    assert opened.state() != before


def test_verdicts_are_the_sentences_of_the_report(brief_run: Path, tmp_path: Path) -> None:
    found = verdicts(brief_run)
    assert any("half-maps" in one["text"] or "resolution" in one["text"] for one in found)
    assert {one["kind"] for one in found} <= {"note", "warning"}
    assert verdicts(tmp_path) == []
