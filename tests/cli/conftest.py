"""An analysis that several test files look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
import pytest

from cryosparc_files import records, with_column, without, write_cs
from dynaflex.simulation.truth import read_truth

Command = Callable[..., Any]


@pytest.fixture(scope="session")
def model(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atomic model that lies on the map: some of the molecule's atoms, from the first voxel."""
    truth = read_truth(simulated / "truth.npz")
    corner = truth.grid.center * truth.grid.pixel_size
    structure, model, chain = gemmi.Structure(), gemmi.Model("1"), gemmi.Chain("A")
    for number, (x, y, z) in enumerate(truth.points[::10] + corner, 1):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(x, y, z)
        residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    path = tmp_path_factory.mktemp("model") / "model.pdb"
    path.write_text(structure.make_pdb_string())
    return path


@pytest.fixture(scope="session")
def analysed(
    finished_run: Path, model: Path, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of an analysis of the hinge, in a run of its own, and what was printed."""
    run = tmp_path_factory.mktemp("analysed") / "run"
    shutil.copytree(finished_run, run)
    outcome = command("analyze", run, "--frames", 4, "--clusters", 3, "--model", model)
    assert outcome.code == 0, outcome.err
    return run / "analysis", outcome.out


@pytest.fixture(scope="session")
def analysed_run(analysed: tuple[Path, str]) -> Path:
    return analysed[0].parent


@pytest.fixture(scope="session")
def table(analysed: tuple[Path, str]) -> pd.DataFrame:
    return pd.read_csv(analysed[0] / "particles.csv")


@pytest.fixture(scope="module")
def halves(finished_run: Path) -> dict[int, list[int]]:
    """The rows of the particles of each half."""
    with np.load(finished_run / "latents.npz") as latents:
        return {half: latents["index"][latents["half"] == half].tolist() for half in (1, 2)}


@pytest.fixture(scope="session")
def from_cryosparc(few: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A brief run on particles of cryoSPARC's, and their table.

    It has a column that nothing here knows, and one pose is not a number."""
    data = tmp_path_factory.mktemp("cs") / "data"
    shutil.copytree(few, data)
    rows = records(data / "particles.star", 6.0)
    odd = np.random.default_rng(1).standard_normal((len(rows), 2)).astype("<f4")
    rows = with_column(rows, "ml_properties/odd", odd)
    rows["alignments3D/pose"][7] = np.nan
    write_cs(data / "J12_particles.cs", without(rows, *(n for n in rows.dtype.names if n.startswith("location/"))))
    write_cs(data / "J12_passthrough_particles.cs", rows[::-1][["uid", *(n for n in rows.dtype.names if n[0] == "l")]])
    run = data / "run"
    outcome = command(
        "dynamight", data / "J12_particles.cs", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc", "-o", run,
        "--datadir", data, "--epochs", 3, "--gaussians", 80, "--batch-size", 8, "--until", "reconstruct",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return run, rows


@pytest.fixture(scope="session")
def exported(
    from_cryosparc: tuple[Path, np.ndarray], command: Command, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """That run as it is handed back, with a path of five frames of half 2."""
    run, _ = from_cryosparc
    out = tmp_path_factory.mktemp("to") / "cryosparc"
    with np.load(run / "latents.npz") as stored:
        np.save(out.parent / "path.npy", stored["mean"][stored["half"] == 2][:5])
    outcome = command("export", run, "--to", "cryosparc", "-o", out, "--path", out.parent / "path.npy", "--half", 2)
    assert outcome.code == 0, outcome.err
    return out
