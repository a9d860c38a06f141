"""A data set of its own for every fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.harness import Toy


@pytest.fixture
def toy(few: Path, tmp_path: Path) -> Toy:
    """A copy of the particles to spoil."""
    shutil.copytree(few, tmp_path / "toy")
    return Toy(tmp_path / "toy")
