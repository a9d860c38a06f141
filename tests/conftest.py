"""What several test files share: the command line in this process, simulated particles, and runs on them."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dynaflex.cli.main import main
from dynaflex.simulation.particles import simulate

BOX, PIXEL = 32, 6.0
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# Surfaces are drawn without a graphics card.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def error_line(self) -> str:
        """All that stands on stderr, which must be one line that begins with ``error:``."""
        lines = self.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), self.err
        assert "Traceback" not in self.err
        return lines[0]

    def refused_choice(self, option: str) -> str:
        """What was said of a value that is none of the choices of an option, and that this is bad usage."""
        assert self.code == 2 and "Traceback" not in self.err
        assert f"Invalid value for '{option}'" in self.err, self.err
        return self.err


@pytest.fixture(scope="session")
def command() -> Callable[..., Outcome]:
    """``command("check", path)``: the real command line, without the time that another interpreter takes to start."""

    def run(*arguments: object) -> Outcome:
        out, err, code = io.StringIO(), io.StringIO(), 0
        argv = ["dynaflex", *map(str, arguments)]
        with patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def chromium() -> Iterator[Callable[..., Any]]:
    """``chromium("--flag")`` starts a browser. One driver for all: a process cannot have a second one beside it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pages are NOT tested")
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium: pages are NOT tested; apt-get install chromium")
    with playwright.sync_playwright() as play:
        yield lambda *flags: play.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])


@pytest.fixture(scope="module")
def browser(chromium: Callable[..., Any]) -> Iterator[Any]:
    """A real browser, for the tests of a file; they are skipped where there is none."""
    opened = chromium()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 particles of the hinge, as clear as the molecule is strong."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, 400, BOX, PIXEL, 1.0, "hinge", 0)
    return folder


@pytest.fixture(scope="session")
def finished_run(simulated: Path, tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Outcome]) -> Path:
    """A whole run on :func:`simulated`, long enough to learn the motion."""
    run = tmp_path_factory.mktemp("finished") / "run"
    outcome = command(
        "dynamight", simulated / "particles.star", "--map", simulated / "consensus.mrc",
        "--mask", simulated / "mask.mrc", "-o", run, "--epochs", 40, "--gaussians", 200, "--batch-size", 8,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return run


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 particles, for what must hold whether or not anything is learned."""
    folder = tmp_path_factory.mktemp("few")
    simulate(folder, 120, BOX, PIXEL, 1.0, "hinge", 0)
    return folder


@pytest.fixture(scope="session")
def flex_run(simulated: Path, tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Outcome]) -> Path:
    """A whole run of 3DFlex on :func:`simulated`, long enough to learn the motion."""
    run = tmp_path_factory.mktemp("flex") / "run"
    outcome = command(
        "flex", simulated / "particles.star", "--map", simulated / "consensus.mrc",
        "--mask", simulated / "mask.mrc", "-o", run, "--epochs", 40, "--batch-size", 8,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return run


BRIEF = {
    "dynamight": {"--epochs": 5, "--gaussians": 80, "--batch-size": 8, "--until": "reconstruct"},
    "flex": {"--epochs": 5, "--cells": 8, "--width": 16, "--batch-size": 8, "--until": "reconstruct"},
}


@pytest.fixture(scope="session")
def brief_of(
    few: Path, tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Outcome]
) -> Callable[..., tuple[Path, Outcome]]:
    """``brief_of("flex", "--cells", 6)``: a run of five epochs up to the maps, on :func:`few` or the ``data`` given."""

    def run(method: str, *options: object, data: Path = few, out: Path | None = None) -> tuple[Path, Outcome]:
        out = tmp_path_factory.mktemp("brief") / "run" if out is None else out
        given = [part for name, value in BRIEF[method].items() if name not in options for part in (name, value)]
        files = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
        return out, command(method, *files, "-o", out, *given, *options)

    return run


@pytest.fixture(scope="session")
def brief(brief_of: Callable[..., tuple[Path, Outcome]]) -> Callable[..., tuple[Path, Outcome]]:
    """``brief("--classes", 2)``: a brief run of DynaMight."""
    return partial(brief_of, "dynamight")


@pytest.fixture(scope="session")
def brief_run(brief: Callable[..., tuple[Path, Outcome]]) -> Path:
    """One brief run with nothing special about it."""
    run, outcome = brief()
    assert outcome.code == 0, outcome.err
    return run
