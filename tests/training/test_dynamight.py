"""Laws of the whole pipeline: it finds a known motion and none where there is none, and its halves do not meet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.data.particles import read_particles
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.io.star import read_star
from dynaflex.results.trained import displacements
from dynaflex.simulation.molecule import ARM, BODY
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import domain_mask, read_truth, true_volume, truth_displacement
from dynaflex.validate.fsc import resolution_at
from dynaflex.validate.score import (
    best_matching_state,
    knn_r2,
    mean_fsc,
    rms_displacement,
    rotation_slope,
    variance_explained,
)
from supported import supports
from training.conftest import MAPS
from written import curves, latents_of, load_json, volume

Brief = Callable[..., tuple[Path, Any]]

# The known motion


@pytest.mark.parametrize("half", [1, 2])
def test_a_known_motion_is_found(simulated: Path, finished_run: Path, half: int) -> None:
    truth, latents = read_truth(simulated / "truth.npz"), latents_of(finished_run)
    rows = latents["index"][latents["half"] == half]
    angle = truth.coordinate[rows]
    assert knn_r2(latents["mean"][latents["half"] == half], angle)[0] > 0.9

    def moved(domain: int) -> tuple[np.ndarray, np.ndarray]:
        points = truth.points[truth.domain == domain]
        return points, displacements(finished_run, points, rows.tolist())

    points, found = moved(ARM)
    true = truth_displacement(truth, rows, points)
    assert variance_explained(found, true) > 0.75
    slope = rotation_slope(points, found, truth.motion.rotors[0].axis, angle[:, 0])
    still = rms_displacement(moved(BODY)[1])
    assert slope > 0.4, "the arm turns, and does not only shift"
    assert still < 0.25 * rms_displacement(true)


def test_correcting_for_the_motion_sharpens_the_arm(simulated: Path, finished_run: Path) -> None:
    """Each map is held against the conformation it looks most like: which one a half takes for rest is its choice."""
    truth = read_truth(simulated / "truth.npz")
    whole = domain_mask(truth, None, truth.grid)
    swing = truth.motion.swing

    def sharpness(name: str) -> float:
        found = volume(finished_run, name)
        state = best_matching_state(found, lambda z: true_volume(truth, z, truth.grid), [(-swing, swing)], whole)
        return mean_fsc(found, true_volume(truth, state, truth.grid), domain_mask(truth, state, truth.grid, ARM))

    for half in (1, 2):
        assert sharpness(f"map_half{half}") > sharpness(f"rigid_half{half}") + 0.1


def test_scales_are_those_of_images_that_say_something(finished_run: Path) -> None:
    scale = latents_of(finished_run)["scale"]
    assert bool((scale > 0).all())
    # An image may contradict the prior, as one that is seen along the motion does; images cannot on the whole.
    assert (np.square(scale).mean(axis=0) < 1.05).all(), "images cannot leave less than the prior knows"
    assert scale.min(axis=1).mean() < 0.75


def test_particles_are_explained_better_by_their_own_conformation_and_most_so_far_from_rest(finished_run: Path) -> None:
    """In ``motion.npz`` those of half 1 come first."""
    latents = latents_of(finished_run)
    order = np.argsort(latents["half"], kind="stable")
    half, first = latents["half"][order], latents["mean"][order, 0]
    with np.load(finished_run / "motion.npz") as stored:
        gain, misfit = stored["gain"], stored["misfit"]
    far = np.zeros(len(half), dtype=bool)
    for one in (1, 2):
        own = half == one
        np.testing.assert_allclose(misfit[own].mean(), 1.0, rtol=1e-5)
        far[own] = np.abs(first[own] - first[own].mean()) > first[own].std()
    assert (gain > 0.0).mean() > 0.8
    assert np.median(gain[far]) > 2.0 * np.median(gain[~far])


# The contract


def test_a_finished_run_holds_the_files_of_the_contract(simulated: Path, finished_run: Path) -> None:
    for name in (
        "config.json",
        "provenance.json",
        "metrics.jsonl",
        "log.txt",
        "report.html",
        "particles.star",
        "latents.npz",
    ):
        assert (finished_run / name).stat().st_size > 0
    assert not (finished_run / "lock.json").exists()
    latents = latents_of(finished_run)
    assert {name: values.shape for name, values in latents.items()} == {
        "index": (400,), "half": (400,), "mean": (400, 6), "scale": (400, 6),
    }  # fmt: skip
    assert np.array_equal(latents["index"], np.arange(400)) and set(latents["half"].tolist()) == {1, 2}
    particles = read_particles(simulated / "particles.star")
    assert np.array_equal(latents["half"], particles.half)
    for name in MAPS:
        stored = read_map(finished_run / "maps" / f"{name}.mrc")
        assert (stored.box, stored.pixel_size) == (32, 6.0), name
    lines = [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["half"], line["epoch"]) for line in lines] == [(half, n) for half in (1, 2) for n in range(1, 41)]
    provenance = load_json(finished_run / "provenance.json")
    assert provenance["counts"] == {"table": 400, "used": 400, "excluded": []}
    assert provenance["inputs"]["particles"] == str(simulated / "particles.star")
    assert any("20 Å" in item for item in provenance["shared_between_halves"])
    assert load_json(finished_run / "config.json")["n_gaussians"] == 200


def test_the_fsc_file_has_every_curve_of_both_reconstructions(finished_run: Path) -> None:
    fsc, grid = load_json(finished_run / "fsc.json"), Grid(32, 6.0)
    for name in ("deformed", "rigid"):
        curves = fsc[name]
        assert curves["frequency"] == grid.shell_frequencies().tolist()
        assert all(len(curves[kind]) == grid.n_shells for kind in ("unmasked", "masked", "corrected"))
        assert curves["resolution"].keys() == {"0.143", "0.5"}
    assert fsc["claim_limit"] == 20.0


def test_particles_come_out_as_they_went_in_with_their_latents(simulated: Path, finished_run: Path) -> None:
    before, after = read_star(simulated / "particles.star"), read_star(finished_run / "particles.star")
    assert list(after.blocks) == list(before.blocks)
    assert after.blocks["optics"].equals(before.blocks["optics"])
    table = after.blocks["particles"]
    latents, contrast = [f"dynaflexLatent{k}" for k in range(1, 7)], "dynaflexContrast"
    assert list(table.columns) == [*before.blocks["particles"].columns, *latents, contrast]
    assert table.drop(columns=[*latents, contrast]).equals(before.blocks["particles"])
    assert np.allclose(table[latents].to_numpy(dtype=float), latents_of(finished_run)["mean"], atol=1e-6)
    assert bool((table[contrast].astype(float) > 0.0).all())
    again = read_particles(finished_run / "particles.star", simulated)
    assert len(again) == 400 and not again.excluded


# Nothing where there is nothing


def mean_difference(run: Path) -> float:
    fsc = load_json(run / "fsc.json")
    return float(np.mean(fsc["deformed"]["corrected"][1:]) - np.mean(fsc["rigid"]["corrected"][1:]))


def test_a_rigid_molecule_does_not_move_and_gains_nothing(tmp_path: Path, brief: Brief) -> None:
    truth = simulate(tmp_path, 400, 32, 6.0, 0.5, "none", 1)
    run, outcome = brief("--epochs", 25, "--gaussians", 120, data=tmp_path)
    assert outcome.code == 0, outcome.err
    assert not any(half.holds for half in supports(run))
    latents = latents_of(run)
    for half in (1, 2):
        rows = latents["index"][latents["half"] == half].tolist()
        assert rms_displacement(displacements(run, truth.points, rows)) < 0.5
        assert curves(run, half)["held_out_gain"][-1] < 1.0, "little more than free coordinates gain from noise"
    assert abs(mean_difference(run)) < 0.01


def test_noise_has_no_resolution(tmp_path: Path, brief: Brief) -> None:
    simulate(tmp_path, 400, 32, 6.0, 0.0, "hinge", 2)
    run, outcome = brief("--epochs", 15, "--gaussians", 120, data=tmp_path)
    assert outcome.code == 0, outcome.err
    assert not any(half.holds for half in supports(run))
    fsc = load_json(run / "fsc.json")
    for name in ("deformed", "rigid"):
        assert fsc[name]["resolution"] == {"0.143": None, "0.5": None}
        # The curve itself says so too, whatever is quoted from it.
        frequency, corrected = (torch.tensor(fsc[name][key]) for key in ("frequency", "corrected"))
        found = resolution_at(frequency, corrected, 0.143)
        assert found is None or found > fsc["claim_limit"]
        assert abs(np.mean(fsc[name]["unmasked"][10:])) < 0.1
    # Over seeds it scatters by 0.016 about 0: both maps are made of the same noise, not by the same sums.
    assert abs(mean_difference(run)) < 0.05
    assert latents_of(run)["scale"].min() > 0.9, "noise says nothing about a conformation"
