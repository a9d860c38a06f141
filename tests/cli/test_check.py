"""Laws of ``dynaflex check`` and of the check before training: what it prints, what it leaves, and when it is made."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex.prepare import before_training
from dynaflex.simulation.particles import simulate
from planted import PLANTS

Command = Callable[..., Any]


@pytest.fixture
def data(few: Path, tmp_path: Path) -> Path:
    """A copy of the particles to spoil."""
    shutil.copytree(few, tmp_path / "data")
    return tmp_path / "data"


def files(folder: Path) -> tuple[object, ...]:
    return folder / "particles.star", "--map", folder / "consensus.mrc", "--mask", folder / "mask.mrc"


def train(command: Command, folder: Path, run: Path, *options: object, method: str = "dynamight") -> Any:
    size = ("--gaussians", 40) if method == "dynamight" else ("--cells", 6, "--width", 8, "--batch-size", 8)
    return command(method, *files(folder), "-o", run, *size, "--until", "prepare", *options)


def test_the_best_reading_stands_first_and_the_verdict_last(command: Command, data: Path) -> None:
    PLANTS["psi sign"].make(data)
    outcome = command("check", *files(data))
    lines = outcome.out.splitlines()
    assert outcome.code == 3
    start = next(i for i, line in enumerate(lines) if line.startswith("readings of the table"))
    assert "on 120 particles" in lines[start] and lines[start + 2].endswith("psi sign flipped")
    correlations = [float(line.split()[0]) for line in lines[start + 2 :] if line.startswith(("  +", "  -"))]
    assert correlations == sorted(correlations, reverse=True)
    for name in ("as given", "the row of another particle"):
        assert sum(line.endswith(f"  {name}") for line in lines) == 1
    verdict = next(line for line in lines if line.startswith("verdict: "))
    assert "psi sign flipped" in verdict and "rlnAnglePsi" in verdict
    assert any("absolute hand" in line for line in lines) and lines[-1] == "1 problem"


def test_people_get_words_and_short_numbers_that_add_up(command: Command, data: Path) -> None:
    outcome = command("check", *files(data))
    assert outcome.code == 0
    facts, _, readings = outcome.out.partition("readings of the table")
    assert not set("[]{}_'") & set(facts.replace(str(data), "")) and not re.search(r"\d[.]\d{5}", outcome.out)
    assert "particles: 120 used, 0 excluded, of 120 in the table" in facts
    others = len(json.loads(command("check", *files(data), "--json").out)["readings"]["others"])
    rows = [line for line in readings.splitlines() if re.match(r" +[+-]\d", line)]
    more, same = re.search(r"and (\d+) more", readings), re.search(r"the same for these particles: (.*)", readings)
    assert more is not None
    assert len(rows) - 2 + int(more[1]) + (0 if same is None else len(same[1].split(", "))) == others
    told = re.search(r"of (\d+) other readings (\d+) fit significantly worse and (\d+) cannot be told", readings)
    assert told is not None and int(told[1]) == int(told[2]) + int(told[3]) == others


def test_what_is_suggested_next_can_be_typed(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    said = command("simulate", folder, "--particles", 120, "--box", 32, "--pixel-size", 6, "--snr", 1).out
    for expected in ("check", "dynamight"):
        typed = shlex.split(said.splitlines()[-1].removeprefix("next: "))
        assert typed[:2] == ["dynaflex", expected] and str(folder / "mask.mrc") in typed
        if expected == "check":
            said = command(*typed[1:]).out
    assert command(*typed[1:-1], tmp_path / "run", "--until", "prepare").code == 0


def test_machines_get_every_number(command: Command, data: Path) -> None:
    outcome = command("check", *files(data), "--json")
    assert outcome.code == 0
    told = json.loads(outcome.out)
    readings = told["readings"]
    assert readings["matches"] and readings["particles"] == 120
    assert "fits best" in readings["verdict"] and "absolute hand" in readings["hand"]
    for score in (readings["given"], readings["control"], *readings["others"]):
        assert {"name", "remedy", "correlation", "z", "gain", "same"} == set(score)
    assert told["leaks"] == {"images": 120, "copies": []}


def test_without_a_map_it_says_what_is_left_out(command: Command, data: Path) -> None:
    outcome = command("check", data / "particles.star")
    assert outcome.code == 0 and "--map scores the table" in outcome.out


@pytest.mark.parametrize("method", ["dynamight", "flex"])
def test_training_is_refused_before_anything_is_made(command: Command, data: Path, tmp_path: Path, method: str) -> None:
    PLANTS["shift sign"].make(data)
    run = tmp_path / "run"
    outcome = train(command, data, run, method=method)
    line = outcome.error_line()
    assert outcome.code == 3 and not run.exists()
    assert "shift sign flipped" in line and "rlnOriginXAngst" in line and "--skip-check" in line
    outcome = train(command, data, run, "--skip-check", method=method)
    assert outcome.code == 0, outcome.err
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["check"] is None
    assert any("--skip-check" in warning for warning in provenance["warnings"])


def test_a_run_keeps_what_was_found(command: Command, data: Path, tmp_path: Path) -> None:
    outcome = train(command, data, tmp_path / "run")
    assert outcome.code == 0, outcome.err
    check = json.loads((tmp_path / "run" / "provenance.json").read_text())["check"]
    assert check["given"]["z"] > 20 and "fits best" in check["verdict"]


def test_a_run_that_is_resumed_is_not_checked_again(
    command: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(command, data, tmp_path / "run").code == 0
    monkeypatch.setattr(before_training, "compare_readings", lambda *_: 1 / 0)
    assert train(command, data, tmp_path / "run", "--resume").code == 0
    assert train(command, data, tmp_path / "other", "--resume").code == 1, "a new run, whatever was asked"
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["check"]["given"]["z"] > 20


def test_black_particles_train_with_the_flag_that_the_refusal_names(
    command: Command, data: Path, tmp_path: Path
) -> None:
    PLANTS["contrast"].make(data)
    assert "--invert-contrast" in train(command, data, tmp_path / "run").error_line()
    assert train(command, data, tmp_path / "run", "--invert-contrast").code == 0


def test_noise_is_trained_on_with_a_warning(command: Command, tmp_path: Path) -> None:
    simulate(tmp_path / "noise", 120, 32, 6.0, 0.0, "hinge", 0)
    outcome = train(command, tmp_path / "noise", tmp_path / "run")
    assert outcome.code == 0 and "do not match this map" in outcome.err
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert not provenance["check"]["matches"]
    assert any("do not match this map" in warning for warning in provenance["warnings"])
