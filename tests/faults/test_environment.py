"""Rows E of the list: devices, libraries, locales, and as many epochs as were asked for."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dynaflex
from faults.harness import Command, Fault, Toy, prove


def no_gpu(toy: Toy) -> list[object]:
    return toy.train("--device", "cuda:7")


def no_such_device(toy: Toy) -> list[object]:
    return toy.train("--device", "abacus")


FAULTS = [
    Fault("E-01", "no such GPU", no_gpu, 4, ("cuda:7", "cannot be used here", "--device cpu")),
    Fault("E-01", "no such device", no_such_device, 4, ("abacus", "cannot be used here", "--device cpu")),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row} {fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)
    assert not toy.run.exists()


def test_e_02_a_missing_library_is_named_with_the_way_to_get_it(
    toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toy.folder / "model.pdb").write_text("END\n")
    monkeypatch.setitem(sys.modules, "gemmi", None)
    outcome = command(*toy.train("--model", toy.folder / "model.pdb"))
    assert outcome.code == 4
    for words in ("gemmi", "pip install", "atoms"):
        assert words in outcome.err


def test_e_04_neither_a_decimal_comma_nor_a_path_that_is_not_utf_8_disturbs_a_run(toy: Toy) -> None:
    data = Path(os.fsdecode(os.fsencode(toy.folder.parent) + b"/M\xfcller's data"))
    shutil.copytree(toy.folder, data)
    arguments = [str(part).replace(str(toy.folder), str(data)) for part in toy.train("--epochs", 1)]
    ended = subprocess.run(
        [sys.executable, "-c", "from dynaflex.cli.main import main; main()", *arguments],
        env={**os.environ, "LC_ALL": "de_DE.ISO-8859-1", "LANG": "de_DE.ISO-8859-1"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    provenance = json.loads((data / "run" / "provenance.json").read_bytes())
    assert provenance["inputs"]["particles"] == str(data / "particles.star")
    assert json.loads((data / "run" / "metrics.jsonl").read_text().splitlines()[0])["epoch"] == 1


@pytest.mark.parametrize("epochs", [1, 4])
def test_e_05_as_many_epochs_are_trained_as_were_asked_for(toy: Toy, command: Command, epochs: int) -> None:
    assert command(*toy.train("--epochs", epochs)).code == 0
    lines = [json.loads(line) for line in (toy.run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["half"] == 1] == list(range(1, epochs + 1))


def test_e_03_nothing_asks_for_a_display() -> None:
    toolkits = {"tkinter", "PyQt5", "PyQt6", "PySide2", "PySide6", "napari", "wx", "gi", "vtk", "pyvista"}
    source = Path(dynaflex.__file__).parent
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in source.rglob("*.py")}
    imported = {
        (path, (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0])
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert len(imported) > 500
    assert not [(path, name) for path, name in imported if name in toolkits]
