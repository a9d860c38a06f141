"""Laws of the whole pipeline: it finds a known motion and none where there is none, and its halves do not meet."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dynaflex.data.particles import read_particles
from dynaflex.grid import Grid
from dynaflex.io.mrc import ImageStack, read_map, write_map, write_stack
from dynaflex.io.star import read_star, write_star
from dynaflex.pipelines.dynamight.pipeline import MODEL_BIAS
from dynaflex.pipelines.dynamight.predict import displacements
from dynaflex.pipelines.run import Run
from dynaflex.simulate.molecule import ARM, BODY
from dynaflex.simulate.particles import simulate
from dynaflex.simulate.truth import domain_mask, read_truth, true_volume, truth_displacement
from dynaflex.validate.fsc import resolution_at
from dynaflex.validate.score import knn_r2, mean_fsc, rms_displacement, rotation_slope, variance_explained

Brief = Callable[..., tuple[Path, Any]]
MAPS = ("map_half1", "map_half2", "rigid_half1", "rigid_half2", "map", "deformation_error")


def latents_of(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "latents.npz") as stored:
        return {name: stored[name] for name in stored.files}


def load_json(path: Path) -> Any:
    return json.loads(path.read_text())


def volume(run: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(read_map(run / "maps" / f"{name}.mrc").data)


def figures(run: Path, half: int) -> list[dict[str, Any]]:
    """The metrics of a half without what the clock and the memory say."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "memory_mb")}
        for line in lines
        if line["half"] == half
    ]


def files_of(run: Path, half: int) -> dict[str, bytes]:
    """Every file that belongs to one half, and its rows of the common ones."""
    paths = [*run.glob(f"maps/*half{half}.mrc"), *run.glob(f"checkpoints/*{half}_*/*")]
    latents = latents_of(run)
    rows = latents["half"] == half
    shared = {name: values[rows].tobytes() for name, values in latents.items()}
    return {str(path.relative_to(run)): path.read_bytes() for path in paths} | shared


def differing(first: dict[str, bytes], second: dict[str, bytes]) -> set[str]:
    assert first.keys() == second.keys() and len(first) > 14
    return {name for name in first if first[name] != second[name]}


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
    print(knn_r2(latents["mean"][latents["half"] == half], angle), variance_explained(found, true), slope, still, rms_displacement(true))
    assert slope > 0.4, "the arm turns, and does not only shift"
    assert still < 0.25 * rms_displacement(true)


def test_correcting_for_the_motion_sharpens_the_arm(simulated: Path, finished_run: Path) -> None:
    truth = read_truth(simulated / "truth.npz")
    rest = np.zeros(1)
    true, arm = true_volume(truth, rest, truth.grid), domain_mask(truth, rest, truth.grid, ARM)
    for half in (1, 2):
        corrected, rigid = (mean_fsc(volume(finished_run, f"{name}_half{half}"), true, arm) for name in ("map", "rigid"))
        print(corrected, rigid)
        assert corrected > rigid + 0.02


def test_scales_are_those_of_images_that_say_something(finished_run: Path) -> None:
    scale = latents_of(finished_run)["scale"]
    assert bool((scale > 0).all()) and bool((scale < 1.01).all()), "an image cannot leave less than the prior knows"
    assert scale.min(axis=1).mean() < 0.75


# The contract


def test_a_finished_run_holds_the_files_of_the_contract(simulated: Path, finished_run: Path) -> None:
    for name in ("config.json", "provenance.json", "metrics.jsonl", "log.txt", "report.html", "particles.star", "latents.npz"):
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
    assert [len(figures(finished_run, half)) for half in (1, 2)] == [40, 40]
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
    new = [f"dynaflexLatent{k}" for k in range(1, 7)]
    assert list(table.columns) == [*before.blocks["particles"].columns, *new]
    assert table.drop(columns=new).equals(before.blocks["particles"])
    assert np.allclose(table[new].to_numpy(dtype=float), latents_of(finished_run)["mean"], atol=1e-6)
    again = read_particles(finished_run / "particles.star", simulated)
    assert len(again) == 400 and not again.excluded


def test_the_run_can_be_read_as_particles_again_where_halves_were_drawn_and_one_was_excluded(
    few: Path, tmp_path: Path, brief: Brief
) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    star = read_star(few / "particles.star")
    table = star.blocks["particles"].drop(columns="rlnRandomSubset")
    table.loc[7, "rlnDefocusU"] = "nan"
    star.blocks["particles"] = table
    write_star(star, data / "particles.star")
    run, outcome = brief("--epochs", 1, data=data)
    assert outcome.code == 0, outcome.err
    counts = load_json(run / "provenance.json")["counts"]
    assert (counts["table"], counts["used"], [item["row"] for item in counts["excluded"]]) == (120, 119, [7])
    latents = latents_of(run)
    assert 7 not in latents["index"] and len(latents["index"]) == 119
    written = read_star(run / "particles.star").blocks["particles"]
    assert len(written) == 120 and written.loc[7, "dynaflexLatent1"] == "nan"
    again = read_particles(run / "particles.star", data)
    assert np.array_equal(again.rows, latents["index"]) and np.array_equal(again.half, latents["half"])


# Reproducible, resumable, independent


def test_equal_seeds_give_equal_bytes_and_others_do_not(brief_run: Path, brief: Brief) -> None:
    again, other = brief()[0], brief("--seed", 1)[0]
    for half in (1, 2):
        assert differing(files_of(brief_run, half), files_of(again, half)) == set()
        assert figures(brief_run, half) == figures(again, half)
    for name in ("fsc.json", "model_fsc.json", "motion.npz", "latents.npz", "particles.star", "maps/map.mrc"):
        assert (brief_run / name).read_bytes() == (again / name).read_bytes(), name
    assert {"maps/map_half1.mrc", "mean"} <= differing(files_of(brief_run, 1), files_of(other, 1))


@pytest.mark.parametrize("epochs_before", [(2,), (5,), (3, 7)])
def test_a_run_that_was_stopped_and_resumed_is_the_run_that_was_not(
    brief_run: Path, brief: Brief, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs_before: tuple[int, ...]
) -> None:
    """Five epochs of half 1, then five of half 2; each stop falls into the epoch after so many."""
    recorded = 0
    record = Run.record

    def interrupting(run: Run, values: dict[str, Any]) -> None:
        nonlocal recorded
        record(run, values)
        recorded += 1
        if recorded in epochs_before:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "record", interrupting)
    run = tmp_path / "run"
    for number in range(len(epochs_before)):
        _, outcome = brief(*(["--resume"] if number else []), out=run)
        assert outcome.code == 75 and "--resume" in outcome.err
        assert not (run / "maps" / "map.mrc").exists() and not (run / "lock.json").exists()
    _, outcome = brief("--resume", out=run)
    assert outcome.code == 0, outcome.err
    assert recorded == 10, "no whole epoch is trained twice"
    for half in (1, 2):
        assert differing(files_of(brief_run, half), files_of(run, half)) == set()
        assert figures(brief_run, half) == figures(run, half)
    for name in ("fsc.json", "motion.npz", "latents.npz", "particles.star", "maps/map.mrc"):
        assert (brief_run / name).read_bytes() == (run / name).read_bytes(), name


def test_a_run_is_not_resumed_with_other_particles(few: Path, tmp_path: Path, brief: Brief) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    run, outcome = brief("--until", "train", "--epochs", 1, data=data)
    assert outcome.code == 0, outcome.err
    shutil.rmtree(run / "checkpoints" / "latents1_00000")
    star = read_star(data / "particles.star")
    halves = star.blocks["particles"]["rlnRandomSubset"]
    star.blocks["particles"]["rlnRandomSubset"] = halves.map({"1": "2", "2": "1"})
    write_star(star, data / "particles.star")
    _, outcome = brief("--resume", "--until", "train", data=data, out=run)
    assert outcome.code == 8 and "other particles" in outcome.err


def test_half_1_does_not_see_half_2(few: Path, brief_run: Path, tmp_path: Path, brief: Brief) -> None:
    """With every image of half 2 replaced by noise, every file of half 1 stays as it is."""
    data = tmp_path / "data"
    shutil.copytree(few, data)
    stack = ImageStack.open(few / "particles.mrcs")
    images = stack.read(np.arange(stack.n_images))
    second = read_particles(few / "particles.star").half == 2
    images[second] = np.random.default_rng(0).normal(size=images[second].shape)
    write_stack(data / "particles.mrcs", images, 6.0)
    run, outcome = brief(data=data)
    assert outcome.code == 0, outcome.err
    assert differing(files_of(brief_run, 1), files_of(run, 1)) == set()
    assert figures(brief_run, 1) == figures(run, 1)
    assert {"maps/map_half2.mrc", "maps/rigid_half2.mrc", "maps/gaussians_half2.mrc", "mean"} <= differing(
        files_of(brief_run, 2), files_of(run, 2)
    )


# Nothing where there is nothing


def mean_difference(run: Path) -> float:
    fsc = load_json(run / "fsc.json")
    return float(np.mean(fsc["deformed"]["corrected"][1:]) - np.mean(fsc["rigid"]["corrected"][1:]))


def test_a_rigid_molecule_does_not_move_and_gains_nothing(tmp_path: Path, brief: Brief) -> None:
    truth = simulate(tmp_path, 300, 32, 6.0, 0.5, "none", 1)
    run, outcome = brief("--epochs", 25, "--gaussians", 120, data=tmp_path)
    assert outcome.code == 0, outcome.err
    latents = latents_of(run)
    print(rms_displacement(displacements(run, truth.points, latents["index"].tolist())), mean_difference(run))
    for half in (1, 2):
        rows = latents["index"][latents["half"] == half].tolist()
        assert rms_displacement(displacements(run, truth.points, rows)) < 0.5
    assert abs(mean_difference(run)) < 0.01


def test_noise_has_no_resolution(tmp_path: Path, brief: Brief) -> None:
    simulate(tmp_path, 300, 32, 6.0, 0.0, "hinge", 2)
    run, outcome = brief("--epochs", 15, "--gaussians", 120, data=tmp_path)
    assert outcome.code == 0, outcome.err
    fsc = load_json(run / "fsc.json")
    print([[fsc[n][k][10:] for k in ("masked","unmasked","corrected")] for n in ("deformed","rigid")], mean_difference(run))
    for name in ("deformed", "rigid"):
        assert fsc[name]["resolution"] == {"0.143": None, "0.5": None}
        # The curve itself says so too, whatever is quoted from it.
        frequency, corrected = (torch.tensor(fsc[name][key]) for key in ("frequency", "corrected"))
        found = resolution_at(frequency, corrected, 0.143)
        assert found is None or found > fsc["claim_limit"]
        assert abs(np.mean(fsc[name]["unmasked"][10:])) < 0.1
    assert abs(mean_difference(run)) < 0.02
    assert latents_of(run)["scale"].min() > 0.9, "noise says nothing about a conformation"


# Variants


def contract_holds(run: Path) -> None:
    latents = latents_of(run)
    assert latents["mean"].shape == latents["scale"].shape == (120, 6)
    assert np.isfinite(latents["mean"]).all() and bool((latents["scale"] > 0).all())
    for name in (*MAPS, "gaussians_half1", "gaussians_half2"):
        assert float(volume(run, name).abs().max()) > 0.0 or name == "deformation_error", name
    assert load_json(run / "fsc.json").keys() >= {"deformed", "rigid", "claim_limit"}
    assert (run / "particles.star").exists()


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (("--latents", "encoder"), {"latents": "encoder"}),
        (("--graph", "paper"), {"graph_degree": None}),
        (("--classes", 2), {"n_classes": 2}),
        (("--refine-poses",), {"refine_poses": True}),
        (("--train-box", 24), {"train_box": 24}),
    ],
)
def test_variants_make_the_same_files_and_not_the_same_maps(
    brief_run: Path, brief: Brief, options: tuple[object, ...], setting: dict[str, object]
) -> None:
    run, outcome = brief(*options)
    assert outcome.code == 0, outcome.err
    contract_holds(run)
    assert setting.items() <= load_json(run / "config.json").items()
    changed = differing_names(brief_run, run)
    assert {"maps/map_half1.mrc", "maps/gaussians_half1.mrc", "mean"} <= changed
    if "--refine-poses" in options:
        drift = load_json(run / "poses_drift.json")
        assert 0.0 < drift["half1"]["rms_degrees"] < 1.0 and drift["half1"] != drift["half2"]
        assert "maps/rigid_half1.mrc" in changed, "poses serve the rigid control as well"
    else:
        assert "maps/rigid_half1.mrc" not in changed, "the rigid control knows nothing of the model"


def differing_names(first: Path, second: Path) -> set[str]:
    one, two = files_of(first, 1), files_of(second, 1)
    return {name for name in one if one[name] != two.get(name)}


def test_black_particles_are_refused_or_inverted(few: Path, brief_run: Path, tmp_path: Path, brief: Brief) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    stack = ImageStack.open(few / "particles.mrcs")
    write_stack(data / "particles.mrcs", -stack.read(np.arange(stack.n_images)), 6.0)
    _, outcome = brief(data=data)
    assert outcome.code == 3 and "--invert-contrast" in outcome.err
    inverted, outcome = brief("--invert-contrast", data=data)
    assert outcome.code == 0, outcome.err
    assert differing(files_of(brief_run, 1), files_of(inverted, 1)) == set()


def test_half_maps_give_each_half_a_start_of_its_own(few: Path, brief_run: Path, tmp_path: Path, brief: Brief) -> None:
    consensus = read_map(few / "consensus.mrc")
    noise = np.random.default_rng(0).normal(size=consensus.data.shape).astype(np.float32)
    other = consensus.data + noise * consensus.data.std()
    for name, data in (("one.mrc", consensus.data), ("two.mrc", other)):
        write_map(tmp_path / name, data, 6.0)
    run, outcome = brief("--half-maps", tmp_path / "one.mrc", tmp_path / "two.mrc")
    assert outcome.code == 0, outcome.err
    contract_holds(run)
    # Half 1 starts from what it had before; half 2 does not, and nothing of it comes back to half 1.
    assert differing(files_of(brief_run, 1), files_of(run, 1)) == set()
    assert "maps/gaussians_half2.mrc" in differing(files_of(brief_run, 2), files_of(run, 2))
    assert load_json(run / "fsc.json")["claim_limit"] is None
    assert not any("consensus" in item for item in load_json(run / "provenance.json")["shared_between_halves"])


def write_model(path: Path, points: np.ndarray, width: float) -> None:
    """The atoms of the simulated molecule as the alpha carbons of glycines, measured from the corner of the box."""
    gemmi = pytest.importorskip("gemmi")
    chain = gemmi.Chain("A")
    for number, point in enumerate(points + width / 2, start=1):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "GLY", gemmi.SeqId(str(number))
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*point)
        residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model("1")
    model.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.write_pdb(str(path))


def test_an_atomic_model_gives_gaussians_bonds_and_a_warning(few: Path, tmp_path: Path, brief: Brief) -> None:
    truth = read_truth(few / "truth.npz")
    points = truth.points[:200]
    write_model(tmp_path / "model.pdb", points, truth.grid.width)
    run, outcome = brief("--model", tmp_path / "model.pdb", "--until", "report", "--epochs", 4, "--classes", 2)
    assert outcome.code == 0, outcome.err
    contract_holds(run)
    state = load_file(next((run / "checkpoints").glob("half1_00004")) / "state.safetensors")
    assert torch.equal(state["model.density.mass"], torch.full((200,), 6.0))
    found = state["model.density.positions"].double().numpy()
    assert np.linalg.norm(found - points, axis=1).max() < 5.0, "the Gaussians stay about where the atoms are"
    provenance = load_json(run / "provenance.json")
    assert MODEL_BIAS in provenance["warnings"] and "the atomic model" in provenance["shared_between_halves"]
    assert MODEL_BIAS in (run / "report.html").read_text()
    assert f"warning: {MODEL_BIAS}" in outcome.err
