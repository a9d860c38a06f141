"""A run whose holder has two threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dynaflex.prepare.device import with_threads
from dynaflex.run.directory import Run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run.create(tmp_path / "run", "dynamight", {"seed": 0}, {})
    with made.locked(), with_threads(2):
        yield made
