"""A data set of its own for every fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.harness import Command, Toy
from survival import rewrite


@pytest.fixture
def toy(few: Path, tmp_path: Path) -> Toy:
    """A copy of the particles to spoil."""
    shutil.copytree(few, tmp_path / "toy")
    return Toy(tmp_path / "toy")


@pytest.fixture(scope="module")
def trained(few: Path, tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """A folder with the data and a trained run on it, to be copied."""
    folder = tmp_path_factory.mktemp("trained") / "toy"
    shutil.copytree(few, folder)
    outcome = command(*Toy(folder).train())
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture
def trained_toy(trained: Path, tmp_path: Path) -> Toy:
    """The data with a trained run beside it, whose paths are its own."""
    toy = Toy(tmp_path / "toy")
    shutil.copytree(trained, toy.folder)
    rewrite(toy.run, "provenance.json", lambda text: text.replace(str(trained), str(toy.folder)))
    return toy
