"""Laws of help and completion: all names can be read whole on a narrow terminal, and the shell knows them too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer

from dynaflex.cli.app import app

Command = Callable[..., Any]
COMMANDS = {command.name: command for command in typer.main.get_group(app).commands.values()}
CHOICES = {
    "simulate": "--motion [hinge|two-hinge|touching|five|twist|none]",
    "reconstruct": "--field [decoder|inverse]",
    "select": "--axes [motion|pca|latent|umap]",
    "export": "--to [relion|cryosparc|chimerax|cryodrgn]",
    "volumes": "--half [1|2]",
    "flex": "--until [prepare|train|reconstruct|report]",
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_name_stands_whole_in_80_columns(name: str, command: Command) -> None:
    outcome = command(name, "--help")
    assert outcome.code == 0 and "…" not in outcome.out
    words = set(re.split(r"[\s,/]+", outcome.out))
    shown = [one for one in COMMANDS[name].params if not getattr(one, "hidden", False)]
    names = [long for one in shown for long in (*one.opts, *one.secondary_opts) if long.startswith("--")]
    assert set(names) <= words, set(names) - words
    groups = {getattr(one, "rich_help_panel", None) for one in shown} - {None}
    assert all(f"\n{group}:\n" in outcome.out for group in groups)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_for_whoever_types_and_as_wide_as_the_terminal(name: str, command: Command) -> None:
    lines = command(name, "--help").out.splitlines()
    assert max(map(len, lines)) < 80
    assert not re.search(r"<(path|int|float|str|list)|{", "\n".join(lines)), "words of Python, or braces of Typer"
    arguments = [one for one in COMMANDS[name].params if one.param_type_name == "argument"]
    usage = f"Usage: dynaflex {name} [OPTIONS]" if arguments else "Usage:"
    assert lines[0].startswith(usage)
    for argument in arguments:
        typed = re.escape(argument.name.upper())
        assert re.search(rf"\b{typed}\b", lines[0]) and re.search(rf"^  {typed}\b", "\n".join(lines), re.MULTILINE)


@pytest.mark.parametrize(("name", "words"), CHOICES.items())
def test_choices_are_shown(name: str, words: str, command: Command) -> None:
    assert words in command(name, "--help").out


def test_what_a_setting_was_called_once_is_not_shown(command: Command) -> None:
    said = command("flex", "--help").out
    assert "--latents FILE" in said and "--initial-latents" not in said


def test_all_commands_are_listed_with_a_sentence(command: Command) -> None:
    said = command("--help").out
    assert all(re.search(rf"^  {name} +[A-Z].*", said, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("dynaflex fl", {"flex"}),
        ("dynaflex flex --solver ", {"iterative", "wiener", "lbfgs", "backprojection"}),
        ("dynaflex dynamight --latents ", {"table", "encoder"}),
        ("dynaflex simulate OUT --motion t", {"two-hinge", "touching", "twist"}),
        ("dynaflex flex --print", {"--print-config"}),
    ],
)
def test_the_shell_completes(typed: str, expected: set[str]) -> None:
    asked = {
        **os.environ, "_DYNAFLEX_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")),
    }  # fmt: skip
    command = [sys.executable, "-c", "from dynaflex.cli.main import main; main()"]
    answered = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    assert set(answered.stdout.split()) == expected, answered.stderr
