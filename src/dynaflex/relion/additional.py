"""Additional arguments: what is typed into the last field of RELION's form, which goes with every task of a job."""

from __future__ import annotations

from collections.abc import Sequence

from dynaflex.errors import UsageError
from dynaflex.relion.line import Line


def known(line: Line, command: str | None = None) -> list[str]:
    """The options that were typed for a ``command`` of dynaflex alone; of those for the training it is said that they
    change nothing any more.

    Raises:
        UsageError: another was typed.
    """
    said, rest = _taken_from(line.rest, _options_of("dynamight"))
    mine, unknown = _taken_from(rest, {} if command is None else _options_of(command))
    if unknown:
        raise UsageError("relion.option", f"{line.task} has no such option", found=" ".join(unknown))
    if said:
        print(f"for the training alone, which is done: {' '.join(said)}", flush=True)
    return mine


def _options_of(command: str) -> dict[str, int]:
    """The options of a command of dynaflex, and how many values each has."""
    from typer.main import get_command

    from dynaflex.cli.app import app

    parameters = vars(get_command(app))["commands"][command].params
    return {
        name: 0 if getattr(one, "is_flag", False) else one.nargs
        for one in parameters
        for name in (*one.opts, *one.secondary_opts)
    }


def _taken_from(tokens: Sequence[str], options: dict[str, int]) -> tuple[list[str], list[str]]:
    """These ``options`` with their values, and what is left of the ``tokens``."""
    taken, left, waiting = [], [], list(tokens)
    while waiting:
        token = waiting.pop(0)
        name, equals, _ = token.partition("=")
        if name in options:
            values = 0 if equals else options[name]
            taken += [token, *waiting[:values]]
            del waiting[:values]
        else:
            left.append(token)
    return taken, left
