"""No output takes the place of an input, whichever command it is, and whatever name the input goes by."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.cli.spared import spared

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, few: Path, brief_of: Callable[..., tuple[Path, Any]]) -> Path:
    """Particles and a run that was made from them."""
    folder = tmp_path_factory.mktemp("spared")
    shutil.copytree(few, folder / "data")
    _, outcome = brief_of("dynamight", data=folder / "data", out=folder / "run")
    assert outcome.code == 0, outcome.err
    (folder / "rows").write_text("0\n1\n2\n")
    np.save(folder / "points.npy", np.zeros((2, 3)))
    return folder


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("log.txt", "lock.json"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


COMMANDS = {
    "select": ("select", "run", "--particles", "rows", "-o"),
    "displacements": ("displacements", "run", "--points", "points.npy", "--particles", "0,1", "-o"),
}
TARGETS = {
    "select": [
        "rows",
        "data/particles.star",
        "data/particles.mrcs",
        "data/mask.mrc",
        "run/particles.star",
        "run/latents.npz",
    ],
    "displacements": ["points.npy", "data/consensus.mrc", "run/motion.npz", "run/maps/map.mrc"],
}


@pytest.mark.parametrize(("name", "target"), [(name, one) for name, targets in TARGETS.items() for one in targets])
@pytest.mark.parametrize("alias", ["itself", "link"])
def test_an_output_never_replaces_what_the_command_works_on(
    project: Path, command: Command, monkeypatch: pytest.MonkeyPatch, name: str, target: str, alias: str
) -> None:
    monkeypatch.chdir(project)
    before = contents(project)
    out = Path(target)
    if alias == "link":
        out = Path("other_name").with_suffix(out.suffix)
        os.link(target, out)
    outcome = command(*COMMANDS[name], out)
    if alias == "link":
        out.unlink()
    assert outcome.code == 2 and "[output.is-input]" in outcome.error_line(), outcome.err
    assert contents(project) == before


@pytest.mark.parametrize("kind", [str, Path])
def test_files_are_spared_whether_they_are_paths_yet_or_text(project: Path, kind: type) -> None:
    """Which of both a command is told depends on the version of Typer."""
    given = {"run": project / "run", "particles": project / "rows", "out": project / "points.npy"}
    found = set(spared({name: kind(path) for name, path in given.items()} | {"most": 3, "halves": None}))
    assert {project / "rows", project / "run" / "latents.npz", project / "data" / "particles.star"} <= found
    assert project / "points.npy" not in found


@pytest.mark.parametrize("kind", ["volumes", "export", "analyze", "simulate"])
def test_a_folder_of_results_leaves_the_files_of_others_alone(
    project: Path, command: Command, tmp_path: Path, kind: str
) -> None:
    typed: dict[str, tuple[tuple[Any, ...], str]] = {
        "volumes": (("volumes", project / "run", "--axis", 1, "--frames", 2, "-o", tmp_path), "vol_001.mrc"),
        "export": (("export", project / "run", "--to", "relion", "-o", tmp_path), "particles.star"),
        "analyze": (("analyze", project / "run", "--no-movies", "--frames", 2, "-o", tmp_path), "particles.csv"),
        "simulate": (("simulate", tmp_path, "--particles", 8, "--box", 32), "particles.star"),
    }
    line, name = typed[kind]
    (tmp_path / name).write_text("years of work")
    outcome = command(*line)
    assert outcome.code == 2 and "[output.not-ours]" in outcome.error_line()
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "years of work"
    (tmp_path / name).unlink()
    assert command(*line).code == 0
    first = (tmp_path / name).read_bytes()
    assert command(*line).code == 0 and (tmp_path / name).read_bytes() == first
