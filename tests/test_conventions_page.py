"""Every line of docs/conventions.md names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = [
    line
    for line in (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
][1:]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def functions_in(path: Path) -> set[str]:
    """The names of the functions in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_page_has_lines() -> None:
    assert len(LINES) > 10


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip()[:40])
def test_a_convention_is_locked_by_a_test(line: str) -> None:
    named = TEST.findall(line)
    assert named, f"no test is named in: {line}"
    for file, name in named:
        assert (ROOT / file).exists(), f"{file} does not exist"
        assert name in functions_in(ROOT / file), f"{file} has no {name}"
