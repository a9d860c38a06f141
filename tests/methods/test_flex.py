"""Laws of a whole run of 3DFlex: a known motion is found, nothing is found where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.grid import Grid
from dynaflex.io.mrc import write_map
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.meshed.marching import band_limit
from dynaflex.prepare.mesh_store import load_mesh
from dynaflex.results.trained import displacements
from dynaflex.simulation.molecule import ARM, BODY
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import domain_mask, read_truth, true_volume, truth_displacement
from dynaflex.validate.score import best_matching_state, knn_r2, mean_fsc, rms_displacement, variance_explained
from supported import supports
from written import curves, latents_of, volume

Brief = Callable[..., tuple[Path, Any]]


@pytest.mark.parametrize("half", [1, 2])
def test_a_known_motion_is_found(simulated: Path, flex_run: Path, half: int) -> None:
    truth, latents = read_truth(simulated / "truth.npz"), latents_of(flex_run)
    rows = latents["index"][latents["half"] == half]
    assert knn_r2(latents["mean"][latents["half"] == half], truth.coordinate[rows])[0] > 0.8
    points = {domain: truth.points[truth.domain == domain] for domain in (ARM, BODY)}
    moved = {domain: displacements(flex_run, where, rows.tolist()) for domain, where in points.items()}
    true = truth_displacement(truth, rows, points[ARM])
    assert variance_explained(moved[ARM], true) > 0.75
    assert rms_displacement(moved[BODY]) < 0.25 * rms_displacement(true)


def test_correcting_for_the_motion_sharpens_the_arm_and_spares_the_body(simulated: Path, flex_run: Path) -> None:
    truth = read_truth(simulated / "truth.npz")
    whole, swing = domain_mask(truth, None, truth.grid), truth.motion.swing

    def sharpness(name: str, domain: int) -> float:
        found = volume(flex_run, name)
        state = best_matching_state(found, lambda z: true_volume(truth, z, truth.grid), [(-swing, swing)], whole)
        return mean_fsc(found, true_volume(truth, state, truth.grid), domain_mask(truth, state, truth.grid, domain))

    for half in (1, 2):
        assert sharpness(f"map_half{half}", ARM) > sharpness(f"rigid_half{half}", ARM) + 0.07
        assert sharpness(f"map_half{half}", BODY) > sharpness(f"rigid_half{half}", BODY) - 0.02


def test_the_run_holds_its_mesh_and_says_what_the_halves_share(flex_run: Path) -> None:
    mesh = load_mesh(flex_run / "mesh.npz").mesh
    assert len(mesh.cells) > 100
    shared = json.loads((flex_run / "provenance.json").read_text())["shared_between_halves"]
    assert any("mesh" in item for item in shared)


def test_no_inverse_is_learned_of_a_mesh(flex_run: Path, command: Callable[..., Any]) -> None:
    refused = command("reconstruct", flex_run, "--field", "inverse")
    assert refused.code == 2 and "--field" in refused.err and "[reconstruct.no-inverse]" in refused.err
    assert (flex_run / "fsc.json").exists()


def test_particles_held_out_are_explained_better_by_a_molecule_that_moves(flex_run: Path) -> None:
    lines = [json.loads(line) for line in (flex_run / "metrics.jsonl").read_text().splitlines()]
    for half in (1, 2):
        last = [line for line in lines if line["half"] == half and line["phase"] == "flow"][-1]
        assert last["held_out_loss"] < last["held_out_rigid_loss"] - 5.0


def test_map_and_flow_take_turns_once_the_flow_has_a_start(flex_run: Path) -> None:
    lines = [json.loads(line) for line in (flex_run / "metrics.jsonl").read_text().splitlines()]
    phases = [line["phase"] for line in lines if line["half"] == 1]
    assert phases[:5] == ["flow"] * 5
    assert phases[5:10] == ["map", "flow", "map", "flow", "map"] and phases[-1] == "flow"


def test_a_rigid_molecule_is_left_alone(tmp_path: Path, brief_of: Brief) -> None:
    simulate(tmp_path / "data", 400, 32, 6.0, 0.2, "none", 1)
    run, outcome = brief_of("flex", "--epochs", 16, data=tmp_path / "data")
    assert outcome.code == 0, outcome.err
    assert not any(half.holds for half in supports(run))
    with np.load(run / "motion.npz") as motion:
        assert float(np.quantile(motion["rms_displacement"], 0.9)) < 1.0
    for half in (1, 2):
        assert curves(run, half)["held_out_gain"][-1] < 2.0, "little more than free coordinates gain from noise"


def test_shared_halves_claim_nothing_below_the_training_nyquist(few: Path, brief_of: Brief) -> None:
    run, outcome = brief_of("flex", "--half-sets", "shared", "--train-box", 24)
    assert outcome.code == 0, outcome.err
    assert json.loads((run / "fsc.json").read_text())["claim_limit"] == pytest.approx(2 * 6.0 * 32 / 24)
    latents = latents_of(run)
    assert set(latents["half"].tolist()) == {1, 2} and len(latents["index"]) == 120
    shared = json.loads((run / "provenance.json").read_text())["shared_between_halves"]
    assert shared[0].startswith("the whole model")


def test_a_stationary_region_does_not_move(few: Path, tmp_path: Path, brief_of: Brief) -> None:
    grid = Grid(32, 6.0)
    held = (grid.points()[:, 0] < 0.0).view(32, 32, 32)
    write_map(tmp_path / "held.mrc", held.float().numpy(), 6.0)
    run, outcome = brief_of("flex", "--stationary", tmp_path / "held.mrc")
    assert outcome.code == 0, outcome.err
    points = np.array([[-30.0, 0.0, 0.0], [30.0, 10.0, 10.0]], dtype=np.float32)
    moved = displacements(run, points, [0, 1, 2, 3])
    assert np.abs(moved[:, 0]).max() == 0.0 and np.abs(moved[:, 1]).max() > 0.0


def test_the_band_opens_from_the_shared_resolution_to_the_finest() -> None:
    grid = Grid(64, 3.0)
    bands = [band_limit(epoch, 5, 40, grid, 20.0, 0.8) for epoch in range(41)]
    assert bands[5] == int(192 / 20.0) and bands[-1] == int(0.8 * 32)
    assert bands == sorted(bands) and bands[30] == bands[-1]


def test_more_particles_need_fewer_epochs() -> None:
    config = FlexConfig()
    planned = [config.planned_epochs(batches) for batches in (5, 20, 80, 400, 4000)]
    assert planned == sorted(planned, reverse=True) and planned[-1] == 16
    updates = [epochs // 2 * batches for epochs, batches in zip(planned, (5, 20, 80, 400, 4000), strict=True)]
    assert planned[0] == 180 and all(count > 400 for count in updates) and updates[1] > 800


def test_noise_in_nothing_out(tmp_path: Path, brief_of: Brief) -> None:
    simulate(tmp_path / "data", 400, 32, 6.0, 0.0, "hinge", 2)
    run, outcome = brief_of("flex", "--epochs", 12, data=tmp_path / "data")
    assert outcome.code == 0, outcome.err
    assert not any(half.holds for half in supports(run))
    claimed = json.loads((run / "fsc.json").read_text())
    assert claimed["rigid"]["resolution"]["0.143"] is None
    assert claimed["deformed"]["resolution"]["0.143"] is None
