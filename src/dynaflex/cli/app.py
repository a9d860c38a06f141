"""All commands. Each is one thin function that imports what it needs when called: help must not wait for torch."""

from __future__ import annotations

from collections.abc import Callable

import typer

from dynaflex.cli.commands import (
    analysis,
    check,
    convert,
    doctor,
    mesh,
    methods,
    reconstruct,
    results,
    resume,
    scores,
    simulate,
    view,
)
from dynaflex.cli.help import Command, Program
from dynaflex.training.installed import names
from dynaflex.version import __version__

_BEFORE, _RUN, _RESULTS, _CARE = "Before a run", "A run", "What came of it", "Looking after a run"

app = typer.Typer(
    name="dynaflex",
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How a protein moves, learned from cryo-EM images, and the maps that the motion sharpens.",
)
_GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    _BEFORE: {
        "simulate": simulate.simulate_command,
        "convert": convert.convert_command,
        "check": check.check_command,
        "mesh": mesh.mesh_command,
    },
    _RUN: {"resume": resume.resume_command},
    _RESULTS: {
        "reconstruct": reconstruct.reconstruct_command,
        "fsc": results.fsc_command,
        "validate": scores.validate_command,
        "score": scores.score_command,
        "analyze": analysis.analyze_command,
        "select": analysis.select_command,
        "volumes": results.volumes_command,
        "displacements": results.displacements_command,
        "view": view.view_command,
        "export": analysis.export_command,
    },
    _CARE: {"doctor": doctor.doctor_command},
}
for _group, _commands in _GROUPS.items():
    if _group == _RUN:
        for _name in names():
            methods.add_to(app, _name, _group)
    for _name, _command in _commands.items():
        app.command(_name, cls=Command, rich_help_panel=_group)(_command)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(False, "--version", is_eager=True, help="Print the version and leave."),
) -> None:
    """Options that every command understands; ``main`` reads ``--debug`` wherever it stands."""
    if version:
        typer.echo(f"dynaflex {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
