"""What several test files share: the command line in this process, simulated particles, and runs on them."""

from __future__ import annotations

import fcntl
import io
import os
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

import interpreted  # noqa: F401 - before torch imports triton
from dynaflex.cli.main import main
from dynaflex.errors import StoppedOnRequest
from dynaflex.report.drawing import film
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
    """``command("check", path)``: the real command line, without the time that another interpreter takes to start.

    A Ctrl-C that stops the command is meant for the tests, unless this one interrupts: ``interrupting=True``.
    """

    def run(*arguments: object, interrupting: bool = False) -> Outcome:
        out, err, code = io.StringIO(), io.StringIO(), 0
        argv = ["dynaflex", *map(str, arguments)]
        with patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        outcome = Outcome(code, out.getvalue(), err.getvalue())
        if code == StoppedOnRequest.exit_code and "stopped by SIGINT" in outcome.err and not interrupting:
            raise KeyboardInterrupt
        return outcome

    return run


@pytest.fixture(scope="session", autouse=True)
def _short_films() -> Iterator[None]:
    """Films of few small frames: the report of a run takes seconds, not half a minute."""
    with pytest.MonkeyPatch.context() as context:
        for name, value in (("FRAMES", 5), ("TURNS", 3), ("HEIGHT", 90)):
            context.setattr(film, name, value)
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """``made_once("few", make)``: a folder that ``make`` fills, in whichever process asks first, for all of them."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / f"once_{name}", root / f"once_{name}.done"
        with (root / f"once_{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


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
def structures() -> Path:
    """Deposited structures, kept beside the repository; not part of it."""
    for parent in Path(__file__).resolve().parents[1:3]:
        folder = parent / "shared" / "data" / "structures"
        if folder.is_dir():
            return folder
    pytest.skip("no deposited structures at ../shared/data/structures: this law was NOT checked on real entries")


@pytest.fixture(scope="session")
def simulated(made_once: Callable[..., Path]) -> Path:
    """400 particles of the hinge, as clear as the molecule is strong."""
    return made_once("simulated", lambda folder: simulate(folder, 400, BOX, PIXEL, 1.0, "hinge", 0))


@pytest.fixture(scope="session")
def few(made_once: Callable[..., Path]) -> Path:
    """120 particles, for what must hold whether or not anything is learned."""
    return made_once("few", lambda folder: simulate(folder, 120, BOX, PIXEL, 1.0, "hinge", 0))


@pytest.fixture(scope="session")
def run_of(
    made_once: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Outcome]
) -> Callable[..., Path]:
    """``run_of("flex", data, "--epochs", 40)``: this process's own copy of a run that is made once for all."""

    def run(method: str, data: Path, *options: object) -> Path:
        files = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")

        def make(folder: Path) -> None:
            outcome = command(method, *files, "-o", folder / "run", *options)
            assert outcome.code == 0, outcome.err

        own = tmp_path_factory.mktemp(f"{method}_{data.name}") / "run"
        return Path(shutil.copytree(made_once(f"{method}_{data.name}", make) / "run", own))

    return run


@pytest.fixture(scope="session")
def finished_run(simulated: Path, run_of: Callable[..., Path]) -> Path:
    """A whole run on :func:`simulated`, long enough to learn the motion."""
    return run_of("dynamight", simulated, "--epochs", 40, "--gaussians", 200, "--batch-size", 8)


@pytest.fixture(scope="session")
def flex_run(simulated: Path, run_of: Callable[..., Path]) -> Path:
    """A whole run of 3DFlex on :func:`simulated`, long enough to learn the motion."""
    return run_of("flex", simulated, "--epochs", 40, "--batch-size", 8)


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
def brief_run(few: Path, run_of: Callable[..., Path]) -> Path:
    """One brief run with nothing special about it."""
    return run_of("dynamight", few, *(part for option in BRIEF["dynamight"].items() for part in option))
