"""A method is found by its entry point, wherever it comes from, and nothing else in the program knows it by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dynaflex as df
from dynaflex.errors import EnvironmentFault, UsageError
from dynaflex.results.settings import config_of, method_of
from dynaflex.run.directory import Run
from dynaflex.training import installed
from dynaflex.training.method import Method

PACKAGE = Path(df.__file__).parent
OTHERS = """
from typing import Annotated, ClassVar
from pydantic import Field
from dynaflex.config import MOTION, InputFile, Option
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.method import Flex

class WobbleConfig(FlexConfig):
    files: ClassVar = {"jelly": InputFile("jelly", "What wobbles.")}
    wobble: Annotated[float, Option(MOTION, "Å")] = Field(default=3.5, description="How far it wobbles at most.")

class Wobble(Flex):
    name = "wobble"
    summary = "Learn how a protein wobbles."
    config = WobbleConfig

WOBBLE = Wobble()
"""


@pytest.fixture
def wobbly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where another package with a method, and one that is broken, is installed."""
    record = tmp_path / "wobbly-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: wobbly\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{installed.GROUP}]\nwobble = wobbly:WOBBLE\nworse = wobbly:GONE\n")
    (tmp_path / "wobbly.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    for known in (installed._declared, installed.method_named):
        known.cache_clear()
    yield tmp_path
    for known in (installed._declared, installed.method_named):
        known.cache_clear()
    sys.modules.pop("wobbly", None)


def said_by(place: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    """What the program says where what is at ``place`` is installed; its last line tells whether torch was loaded."""
    program = f"import sys; sys.path.insert(0, {str(place)!r}); sys.argv = ['dynaflex', *{typed!r}]\n"
    program += "from dynaflex.cli.main import main\ntry: main()\nfinally: print('torch' in sys.modules)\n"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_the_methods_of_this_package_are_those_that_it_declares() -> None:
    declared = [point.name for point in installed._of_source_tree()]
    assert {"dynamight", "flex", "multibody"} <= set(declared) <= set(installed.names())
    for name in declared:
        found = installed.method_named(name)
        assert isinstance(found, Method) and found.name == name and found.summary.endswith(".")


def test_a_method_of_another_package_is_a_command_with_its_own_options(wobbly: Path) -> None:
    assert "wobble" in installed.names() and installed.method_named("wobble").config.__name__ == "WobbleConfig"
    listed = said_by(wobbly, "--help")
    assert "Learn how a protein wobbles." in listed.stdout and listed.stdout.endswith("False\n")
    helped = said_by(wobbly, "wobble", "--help").stdout
    assert "--jelly FILE" in helped and "--wobble Å" in helped and "--cells N" in helped
    assert "wobble = 3.5" in said_by(wobbly, "wobble", "--print-config").stdout


def test_a_run_is_made_by_it_and_read_back(wobbly: Path, few: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    settings = {"wobble": 1.5, "cells": 8, "epochs": 1, "batch_size": 16, "jelly": few / "mask.mrc"}
    run = df.train(
        "wobble", few / "particles.star", few / "consensus.mrc", out=path, skip_check=True, until="train", **settings
    )
    opened = Run.open(path)
    assert method_of(opened).name == "wobble" and config_of(opened).model_dump()["wobble"] == 1.5
    assert opened.read_json("provenance.json")["inputs"]["jelly"] == str(few / "mask.mrc")
    assert run.displacements(np.zeros((5, 3)), [0, 1]).shape == (2, 5, 3)


def test_a_broken_method_breaks_nothing_else(wobbly: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"'worse' cannot be loaded.*wobbly:GONE of wobbly.*method\.broken"):
        installed.method_named("worse")
    assert "dynamight" in said_by(wobbly, "--help").stdout
    asked = said_by(wobbly, "worse", "particles.star", "--map", "map.mrc")
    assert asked.returncode == 4 and "[method.broken]" in asked.stderr


def test_what_is_not_installed_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no method 'wobble'.*dynamight or flex"):
        installed.method_named("wobble")


def test_no_method_is_known_by_name_outside_its_folder() -> None:
    """But in the jobs of RELION and Doppio, which are those of one method or the other."""
    own = [point.value.partition(":")[0].split(".")[:3] for point in installed._of_source_tree()]
    folders = [PACKAGE.joinpath(*parts[1:]) for parts in own]
    known = {folder.name for folder in folders}
    for path in set(PACKAGE.rglob("*.py")) - set(PACKAGE.joinpath("relion").iterdir()):
        others = known - {path.parent.name if path.parent in folders else None}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            said: set[Any] = {node.value} if isinstance(node, ast.Constant) else set()
            if isinstance(node, ast.ImportFrom):
                said = set((node.module or "").split(".")[2:3])
            elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "isinstance":
                said = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
                others = others | ({"MeshFlow"} if "flex" in others else set())
            assert not said & others, f"{path}, line {getattr(node, 'lineno', 0)}: {said & others}"
