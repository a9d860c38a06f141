"""Laws of the options: each makes the files of the contract, and changes what it should and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dynaflex.io.mrc import read_map, write_map
from dynaflex.methods.dynamight.method import MODEL_BIAS
from dynaflex.simulation.truth import read_truth
from training.conftest import MAPS
from written import latents_of, load_json, volume

Brief = Callable[..., tuple[Path, Any]]
Differing = Callable[[Path, Path, int], set[str]]


def contract_holds(run: Path) -> None:
    latents = latents_of(run)
    assert latents["mean"].shape == latents["scale"].shape == (120, 6)
    assert np.isfinite(latents["mean"]).all() and bool((latents["scale"] > 0).all())
    for name in (*MAPS, "model_half1", "model_half2"):
        assert float(volume(run, name).abs().max()) > 0.0 or name == "deformation_error", name
    assert load_json(run / "fsc.json").keys() >= {"deformed", "rigid", "claim_limit"}
    assert (run / "particles.star").exists()


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (("--latents", "encoder", "--train-box", 24), {"latents": "encoder", "train_box": 24}),
        (("--graph", "paper", "--layers", 2), {"graph": "paper", "layers": 2}),
        (("--classes", 2), {"n_classes": 2}),
        (("--refine-poses",), {"refine_poses": True}),
    ],
)
def test_variants_make_the_same_files_and_not_the_same_maps(
    brief_run: Path, brief: Brief, options: tuple[object, ...], setting: dict[str, object], differing: Differing
) -> None:
    run, outcome = brief(*options)
    assert outcome.code == 0, outcome.err
    contract_holds(run)
    assert setting.items() <= load_json(run / "config.json").items()
    changed = differing(brief_run, run, 1)
    assert {"maps/map_half1.mrc", "maps/model_half1.mrc", "mean"} <= changed
    if "--refine-poses" in options:
        drift = load_json(run / "poses_drift.json")
        assert 0.0 < drift["half1"]["rms_degrees"] < 1.0 and drift["half1"] != drift["half2"]
        assert "maps/rigid_half1.mrc" in changed, "poses serve the rigid control as well"
    else:
        control = torch.stack([volume(of, "rigid_half1").flatten() for of in (brief_run, run)])
        assert float(control.corrcoef()[0, 1]) > 0.999, "of the model the rigid control knows contrasts alone"


def test_half_maps_give_each_half_a_start_of_its_own(
    few: Path, tmp_path: Path, brief: Brief, differing: Differing
) -> None:
    consensus = read_map(few / "consensus.mrc")
    for seed, name in enumerate(("one.mrc", "two.mrc", "three.mrc")):
        noise = np.random.default_rng(seed).normal(size=consensus.data.shape).astype(np.float32)
        write_map(tmp_path / name, consensus.data + noise * consensus.data.std(), 6.0)
    runs = []
    for second in ("two.mrc", "three.mrc"):
        run, outcome = brief("--half-maps", tmp_path / "one.mrc", tmp_path / second)
        assert outcome.code == 0, outcome.err
        contract_holds(run)
        runs.append(run)
    # Half 2 starts from another map, and nothing of it comes to half 1.
    assert differing(*runs, 1) == set()
    assert "maps/model_half2.mrc" in differing(*runs, 2)
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
