"""The command line. Each command is one thin function; the programs live below."""

from __future__ import annotations

import sys
import traceback

import typer

from dynaflex import __version__
from dynaflex.cli import analysis, check, convert, doctor, dynamight, flex, inputs, mesh, results, resume, view
from dynaflex.errors import DynaflexError

app = typer.Typer(
    name="dynaflex",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="How a protein moves, learned from cryo-EM images, and the maps that the motion sharpens.",
)
app.command("simulate")(inputs.simulate_command)
app.command("check")(check.check_command)
app.command("convert")(convert.convert_command)
app.command("dynamight")(dynamight.dynamight_command)
app.command("flex")(flex.flex_command)
app.command("resume")(resume.resume_command)
app.command("mesh")(mesh.mesh_command)
app.command("reconstruct")(results.reconstruct_command)
app.command("volumes")(results.volumes_command)
app.command("displacements")(results.displacements_command)
app.command("analyze")(analysis.analyze_command)
app.command("select")(analysis.select_command)
app.command("score")(analysis.score_command)
app.command("export")(analysis.export_command)
app.command("validate")(analysis.validate_command)
app.command("fsc")(results.fsc_command)
app.command("view")(view.view_command)
app.command("doctor")(doctor.doctor_command)


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


def main() -> None:
    """Run the command line and leave with the exit code of docs/errors: 0 done, 2 usage, 3 input, and so on."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(args=arguments)
    except DynaflexError as error:
        _fail(str(error), error.exit_code, debug)
    except MemoryError as error:
        _fail(f"out of memory: {error}. Fix: a smaller --train-box or --batch-size [memory]", 5, debug)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error}. This is a fault in dynaflex; --debug shows where [bug]", 1, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
