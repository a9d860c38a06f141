"""Whatever befalls one file of a finished run: every command comes to the same result, or says which file it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex.simulation.particles import simulate
from faults.harness import Command
from faults.single import COMMANDS, SLOW_COMMANDS, Subject, broken_law

SAMPLE, WHOLE = 24, 180
"""How many single faults are tried by default, and how many of each method in all."""
_FINISH: tuple[list[object], ...] = (
    ["analyze", "--frames", 2, "--no-movies"],
    ["export", "--to", "relion"],
)


def finished(command: Command, run: Path, *more: list[object]) -> Path:
    """Everything that commands leave in a run."""
    for name, *options in (*_FINISH, *more):
        outcome = command(name, run, *options)
        assert outcome.code == 0, outcome.err
    outcome = command("volumes", run, "--axis", 1, "--frames", 2, "-o", run / "volumes")
    assert outcome.code == 0, outcome.err
    return run


@pytest.fixture(scope="module")
def made(
    brief_of: Callable[..., tuple[Path, Any]], command: Command, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Subject]:
    """``made("flex", data)``: a finished run, and another with other particles and another seed."""

    def make(method: str, data: Path, particles: int, *more: list[object]) -> Subject:
        folder = tmp_path_factory.mktemp("subject")
        simulate(folder / "other", particles - 8, 32, 6.0, 1.0, "hinge", 1)
        brief_of(method, data=data, out=folder / "run")
        brief_of(method, "--seed", 1, data=folder / "other", out=folder / "other_run")
        for run in (folder / "run", folder / "other_run"):
            finished(command, run, *more)
        return Subject(folder, folder / "other_run", data / "truth.npz", command)

    return make


def prove(subject: Subject, number: int, commands: list[str]) -> None:
    name, fault, given = subject.drawn(number, commands)
    subject.expected(given)
    name, fault, given = subject.drawn(number, commands)
    broken = broken_law(subject, name, given, subject.result(given))
    assert broken is None, f"{name} {fault}, then {given}: {broken}"


@pytest.fixture(scope="module")
def brief_subject(made: Callable[..., Subject], few: Path) -> Subject:
    return made("dynamight", few, 120)


@pytest.mark.parametrize("number", range(SAMPLE))
def test_a_fault_in_one_file_is_named_or_changes_nothing(brief_subject: Subject, number: int) -> None:
    prove(brief_subject, number, list(COMMANDS))


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def whole_subject(request: pytest.FixtureRequest, made: Callable[..., Subject], simulated: Path) -> Subject:
    return made(request.param, simulated, 400, ["validate", "--most", 20])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1000, 1000 + WHOLE))
def test_every_single_fault_is_named_or_changes_nothing(whole_subject: Subject, number: int) -> None:
    prove(whole_subject, number, [*COMMANDS, *SLOW_COMMANDS])
