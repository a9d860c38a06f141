"""Laws of the benchmarks: what they import is there, and each is in the list that people read."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))


def is_there(module: str, name: str) -> bool:
    return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_benchmark_imports_is_there(script: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)]
    wanted = [(node.module, one.name) for node in imports for one in node.names if node.module is not None]
    gone = [one for one in wanted if one[0].split(".")[0] == "dynaflex" and not is_there(*one)]
    assert not gone


def test_all_benchmarks_are_listed() -> None:
    page = (BENCHMARKS / "README.md").read_text()
    assert [script.name for script in SCRIPTS if f"`{script.name}`" not in page] == []
