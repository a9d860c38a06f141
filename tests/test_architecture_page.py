"""The page on the architecture shows the tree and the layers that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SECTIONS = dict(
    part.split("\n", 1) for part in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("\n## ")[1:]
)
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
LAYERS = {contract["id"]: contract["layers"] for contract in CONTRACTS if contract["type"] == "layers"}


def test_the_tree_is_that_of_the_source() -> None:
    shown = re.findall(r"^  (\S+)", SECTIONS["The tree"], flags=re.MULTILINE)
    there = [path for path in (ROOT / "src" / "dynaflex").iterdir() if not path.name.startswith("__")]
    assert sorted(shown) == sorted(
        f"{path.name}/" if path.is_dir() else path.name for path in there if path.is_dir() or path.suffix == ".py"
    )


@pytest.mark.parametrize("contract", LAYERS)
def test_the_layers_are_those_that_are_checked(contract: str) -> None:
    blocks = re.findall(r"(?:^    .+\n)+", SECTIONS["Layers"], flags=re.MULTILINE)
    shown = [[line.split(" | ") for line in re.sub("^    ", "", block, flags=re.M).splitlines()] for block in blocks]
    assert [[name.rpartition(".")[2] for name in layer.split(" | ")] for layer in LAYERS[contract]] in shown
