"""An assembly of three units, seen a few times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dynaflex.simulation.particles import simulate


@pytest.fixture(scope="session")
def trimers(made_once: Callable[..., Path]) -> Path:
    """60 particles of C3."""
    return made_once("trimers", lambda folder: simulate(folder, 60, 32, 6.0, 1.0, "hinge", 0, symmetry="C3"))
