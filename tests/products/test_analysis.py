"""Laws of scoring: the truth scores perfectly, and the scores of a run are those of its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.imaging.pose import Pose
from dynaflex.judge import scoring
from dynaflex.judge.scene import SimulatedScene
from dynaflex.run.directory import Run
from dynaflex.run.ledger import Ledger
from dynaflex.shapes import Array

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def scene(simulated: Path) -> SimulatedScene:
    return SimulatedScene.read(simulated / "truth.npz")


@pytest.fixture(scope="module")
def scored_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: the ideal maps are written into it."""
    run = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(finished_run, run)
    return run


@pytest.fixture(scope="module")
def scores(simulated: Path, scored_run: Path, command: Command) -> dict[str, Any]:
    outcome = command("score", scored_run, "--truth", simulated / "truth.npz", "--images", 6, "--ideal", "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_the_true_motion_scores_perfectly_in_every_state(
    scene: SimulatedScene, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for state in (np.zeros(1), np.array([0.2])):

        def truth(run: Path, points: Array, rows: list[int], half: int, state: Array = state) -> Array:
            # What a model says whose molecule is at rest in that state.
            start = scene.displacement(scene.points, scene.domain, state[None])[0]
            assert np.allclose(points, scene.points + start, atol=1e-4)
            return scene.displacement(scene.points, scene.domain, scene.coordinate[rows]) - start

        monkeypatch.setattr(scoring, "displacements", truth)
        found = scoring.motion_scores(finished_run, scene, 1, state)
        assert found["arm_variance_explained"] == pytest.approx(1.0)
        assert found["arm_rotation_slope"] == pytest.approx(1.0)
        assert found["arm_error_rms"] == pytest.approx(0.0, abs=1e-9)
        assert found["body_motion_rms"] == 0.0 and found["arm_true_rms"] > 2.0


def test_the_true_map_scores_perfectly_and_closes_the_gap(scene: SimulatedScene) -> None:
    true, other = scene.volume(np.array([0.1])), scene.volume(np.array([-0.3]))
    blurred = 0.5 * (true + other)
    found = scoring.map_scores(scene, {"rigid": blurred, "corrected": true, scoring.IDEAL: true})
    assert found["arm_fsc_corrected"] > 0.995 and found["arm_gap_closed"] == pytest.approx(1.0)
    assert found["arm_fsc_rigid"] < 0.9 * found["body_fsc_rigid"]
    again = scoring.map_scores(scene, {"rigid": blurred, "corrected": blurred, scoring.IDEAL: true})
    assert again["arm_gap_closed"] == pytest.approx(0.0)


def test_next_to_no_gap_cannot_be_closed(scene: SimulatedScene) -> None:
    true = scene.volume(np.zeros(1))
    found = scoring.map_scores(scene, {"rigid": true, "corrected": true, scoring.IDEAL: true})
    assert np.isnan(found["arm_gap_closed"])


def test_a_run_that_learned_the_hinge_scores_so(scores: dict[str, Any]) -> None:
    for half in ("half1", "half2"):
        found = scores[half]
        assert found["knn_r2"][0] > 0.7 and abs(found["linear_r"][0]) > 0.8
        assert found["arm_variance_explained"] > 0.7 and 0.5 < found["arm_rotation_slope"] < 1.3
        assert found["neighbourhood_similarity"]["20%"] > 0.5
        assert found["arm_fsc_corrected"] > found["arm_fsc_rigid"]
        assert 0.5 < found["arm_gap_closed"] < 1.3
        area = found["fsc_area_per_image"]
        assert area["images"] == 6 and 0.25 < area["mean"] < area["perfect"] == pytest.approx(0.5 - 1 / 32)


def test_the_area_per_image_falls_where_the_motion_is_wrong(
    scene: SimulatedScene, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(finished_run)
    right = scoring.per_image_area(run, scene, 1, 6)["masked_mean"]
    load = scoring.load_half

    def confused(opened: Run, half: int) -> Any:
        trained = load(opened, half)
        return replace(trained, latents=replace(trained.latents, mean=trained.latents.mean.flip(0)))

    monkeypatch.setattr(scoring, "load_half", confused)
    assert scoring.per_image_area(run, scene, 1, 6)["masked_mean"] < right - 0.01


def test_scores_are_printed_for_people_and_the_ideal_maps_are_kept(
    scores: dict[str, Any], simulated: Path, scored_run: Path, command: Command
) -> None:
    outcome = command("score", scored_run, "--truth", simulated / "truth.npz", "--images", 1)
    assert outcome.code == 0
    line = next(line for line in outcome.out.splitlines() if line.startswith("arm: way from the rigid map"))
    expected = [scores[f"half{half}"]["arm_gap_closed"] for half in (1, 2)]
    assert [float(value) for value in line.split()[-2:]] == pytest.approx(expected, abs=1e-3)
    assert "_" not in outcome.out


def test_before_there_are_maps_latents_and_motion_are_scored(
    simulated: Path, finished_run: Path, command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    files = Ledger(run)
    for name in ("fsc.json", *(name for name in files.names() if name.startswith("maps/"))):
        files.forget(name)
    outcome = command("score", run, "--truth", simulated / "truth.npz", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["half1"]
    assert "arm_variance_explained" in found and "arm_fsc_corrected" not in found


def test_a_truth_of_other_particles_is_refused(few: Path, finished_run: Path, command: Command) -> None:
    outcome = command("score", finished_run, "--truth", few / "truth.npz")
    assert outcome.code == 3 and "120 particles" in outcome.err and "[score.other-data]" in outcome.error_line()
    outcome = command("score", finished_run, "--truth", few / "truth.npz", "--images", 0)
    assert outcome.code == 2 and "[score.too-few]" in outcome.error_line()


def test_a_field_that_knows_the_motion_carries_what_has_density(scene: SimulatedScene) -> None:
    field = scoring.KnownField(scene, scene.grid)
    pose = Pose(torch.eye(3)[None], torch.zeros(1, 2))
    rest = field.image_points(None, pose)
    moved = field.image_points(torch.tensor([[0.3]], dtype=torch.float64), pose)
    shift = (moved - rest)[0].norm(dim=1)
    far = torch.ones(len(shift), dtype=torch.bool)
    far[field.near] = False
    assert float(shift[far].max()) == 0.0 and float(shift.max()) > 3.0
