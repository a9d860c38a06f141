"""A run that another version made is refused by name, by every command that opens it, and read by nobody's guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.errors import OtherVersionError
from dynaflex.run.ledger import Ledger
from dynaflex.training.checkpoint import model_state
from faults.harness import Command, Toy
from survival import rewrite

Change = Callable[[dict[str, Any]], object]

COMMANDS: dict[str, list[object]] = {
    "doctor": ["doctor", "RUN"],
    "resume": ["resume", "RUN"],
    "reconstruct": ["reconstruct", "RUN"],
    "validate": ["validate", "RUN"],
    "score": ["score", "RUN", "--truth", "truth.npz"],
    "analyze": ["analyze", "RUN"],
    "select": ["select", "RUN", "--latents", "1:-9:9", "--half", 1, "-o", "subset.star"],
    "volumes": ["volumes", "RUN", "--axis", 1, "-o", "out"],
    "displacements": ["displacements", "RUN", "--points", "points.npy", "--particles", 0, "-o", "out.npz"],
    "export": ["export", "RUN", "--to", "relion", "-o", "out"],
    "view": ["view", "RUN"],
}
SETTINGS: dict[str, Change] = {
    "graph_degree": lambda settings: settings.update(graph_degree=12),
    "batch_size": lambda settings: settings.pop("batch_size"),
    "solver": lambda settings: settings.update(solver="gridding"),
}
"""What another version may have written otherwise: a setting that is gone, one that is new, a value that is gone."""


def written_by(run: Path, version: str, file: str, change: Change) -> None:
    """Let another version have written a file of a run."""

    def edited(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    rewrite(run, "provenance.json", lambda text: json.dumps({**json.loads(text), "version": version}))
    rewrite(run, file, edited)


@pytest.mark.parametrize("entry", SETTINGS)
@pytest.mark.parametrize("name", COMMANDS)
def test_settings_that_this_version_does_not_know_are_named(
    trained_toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch, name: str, entry: str
) -> None:
    written_by(trained_toy.run, "0.0.7", "config.json", SETTINGS[entry])
    np.save(trained_toy.folder / "points.npy", np.zeros((1, 3)))
    monkeypatch.chdir(trained_toy.folder)
    before = {path: path.read_bytes() for path in trained_toy.run.rglob("*") if path.is_file()}
    outcome = command(*[trained_toy.run if word == "RUN" else word for word in COMMANDS[name]])
    said = outcome.out if name == "doctor" else outcome.error_line()
    assert outcome.code == (8 if name == "doctor" else 3), outcome.err
    for words in ("config.json", f"entry {entry}", "found ", "dynaflex 0.0.7", "[run.other-version]", "another -o"):
        assert words in said
    assert before == {path: path.read_bytes() for path in trained_toy.run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("part", ["gone", "new", "of another size"])
@pytest.mark.parametrize("name", ["analyze", "volumes", "reconstruct"])
def test_a_model_that_is_made_otherwise_is_named(
    trained_toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch, name: str, part: str
) -> None:
    def written(tensors: dict[str, Any]) -> dict[str, Any]:
        state, name = model_state(tensors), "deformation.network.motion.bias"
        bias = state.pop(name)
        known = {"gone": {}, "new": {name: bias, "deformation.more": bias}, "of another size": {name: bias[1:]}}
        return state | known[part]

    monkeypatch.setattr("dynaflex.results.trained.model_state", written)
    monkeypatch.chdir(trained_toy.folder)
    outcome = command(*[trained_toy.run if word == "RUN" else word for word in COMMANDS[name]])
    entry = "deformation.more" if part == "new" else "deformation.network.motion.bias"
    assert outcome.code == 3, outcome.err
    for words in ("checkpoints", f"entry {entry}", "found ", "[run.other-model]", "another -o"):
        assert words in outcome.error_line()


def test_from_python_too(trained_toy: Toy) -> None:
    import dynaflex as df

    written_by(trained_toy.run, "0.0.7", "config.json", SETTINGS["graph_degree"])
    for opens in (df.open, df.resume):
        with pytest.raises(OtherVersionError) as caught:
            opens(trained_toy.run)
        assert caught.value.field == "graph_degree" and "0.0.7" in str(caught.value.fix)


def test_the_same_command_again_is_refused_too(trained_toy: Toy, command: Command) -> None:
    written_by(trained_toy.run, "0.0.7", "config.json", SETTINGS["graph_degree"])
    outcome = command(*trained_toy.train("--resume"))
    assert outcome.code == 3 and "[run.other-version]" in outcome.error_line()


@pytest.mark.parametrize("name", ["provenance.json", "grid.json"])
def test_no_entry_that_is_not_there_is_a_bug(trained_toy: Toy, command: Command, tmp_path: Path, name: str) -> None:
    whole = (trained_toy.run / name).read_text()
    for entry in json.loads(whole):
        written_by(trained_toy.run, "0.0.7", name, lambda content, entry=entry: content.pop(entry, None))
        for asked in (
            ("doctor", trained_toy.run),
            ("resume", trained_toy.run, "--until", "train"),
            ("volumes", trained_toy.run, "--axis", 1, "--frames", 1, "-o", tmp_path / "out"),
        ):
            outcome = command(*asked)
            said = outcome.out + outcome.err
            assert "[bug]" not in said and "Traceback" not in said, (entry, said)
            assert outcome.code in (0, 3, 8), (entry, said)
        with Ledger(trained_toy.run).writing(name) as path:
            path.write_text(whole)
