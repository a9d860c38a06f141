"""What all commands have in common: help in groups, with every name whole, and that they spare what they are given."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from dynaflex.cli.spared import spared

_WIDEST = 100
_FIRST_COLUMN = 30
_WHOLE_SENTENCE = 1000
_KINDS = {
    r"<([^<>|]+(?:\|[^<>|]+)+)>": r"[\1]",
    r"<path>": "PATH",
    r"<(int|float)( range)?>": "NUMBER",
    r"<(str|list\[str\])>": "TEXT",
}
"""What can be given, as Typer calls it and as whoever types it does."""


class Command(TyperCommand):
    """A command that lists its options in groups."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.context_settings.setdefault("max_content_width", _WIDEST)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; nothing that it is given is written over."""
        from dynaflex.io import durable

        with durable.sparing(spared(ctx.params)):
            return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command, without the braces, which would have to be typed elsewhere."""
        pieces: list[str] = super().collect_usage_pieces(ctx)
        return [re.sub(r"[{}]", "", piece).upper() for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options under the titles of their groups."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                usual, name = ("Arguments", record[0].partition(" ")[0].upper()) if argument else ("Options", record[0])
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append((name, record[1]))
        _write(groups, formatter)


class Program(TyperGroup):
    """The whole program, which lists its commands in groups."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.context_settings.setdefault("max_content_width", _WIDEST)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands under the titles of their groups, each with the first sentence of its help."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            sentence = command.get_short_help_str(_WHOLE_SENTENCE)
            groups.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append((name, sentence))
        _write(groups, formatter)


def _write(groups: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    """All groups in the same two columns; what does not fit into the first has a line to itself."""
    groups = {title: [(_in_words(name), help) for name, help in group] for title, group in groups.items()}
    names = [name for group in groups.values() for name, _ in group]
    width = max(len(name) for name in names if len(name) <= _FIRST_COLUMN)
    for title, group in groups.items():
        with formatter.section(title):
            formatter.write_dl([(name.ljust(width), help) for name, help in group], col_max=width)


def _in_words(name: str) -> str:
    """A name with what it takes: ``--to [relion|chimerax]``, ``--map PATH``."""
    for kind, words in _KINDS.items():
        name = re.sub(kind, words, name)
    return name
