"""One tiny run of each method, made at a terminal, that all other commands look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from terminal.typing import Shown, at_a_terminal

BRIEF: dict[str, list[object]] = {
    "dynamight": ["--gaussians", 40, "--batch-size", 16, "--held-out-fraction", 0.3],
    "flex": ["--cells", 6, "--width", 8, "--batch-size", 16, "--held-out-fraction", 0.3],
}


@dataclass(frozen=True)
class Made:
    """A run, and what was shown while it was made."""

    run: Path
    shown: Shown


@pytest.fixture(scope="session")
def typed(few: Path) -> Callable[..., list[object]]:
    """``typed("flex", run, 2)``: the command for a run of two epochs on 120 particles."""

    def command(method: str, run: Path, epochs: int) -> list[object]:
        files = [few / "particles.star", "--map", few / "consensus.mrc", "--mask", few / "mask.mrc", "-o", run]
        return [method, *files, *BRIEF[method], "--epochs", epochs]

    return command


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, typed: Callable[..., list[object]]) -> Callable[[str], Made]:
    """``made("dynamight")``: a run of that method, which is made when it is first asked for."""
    known: dict[str, Made] = {}

    def of(method: str) -> Made:
        if method not in known:
            run = tmp_path_factory.mktemp(method) / "run"
            known[method] = Made(run, at_a_terminal(*typed(method, run, 2)))
        return known[method]

    return of
