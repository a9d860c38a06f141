"""``view``: the explorer in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dynaflex.cli.moved import MovedImages
from dynaflex.errors import EnvironmentFault, StoppedOnRequest
from dynaflex.prepare.device import use_one_thread


def view_command(
    run: Annotated[Path, typer.Argument(help="Run directory; it may still be at work.")],
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default 8642, or a free one.")] = None,
    host: Annotated[
        str, typer.Option(help="Listen on another address than loopback: then others can reach it.")
    ] = "127.0.0.1",
    socket: Annotated[
        Path | None, typer.Option(help="Listen on a Unix socket that only you can open, for ssh -L; no port.")
    ] = None,
    datadir: MovedImages = None,
    idle_hours: Annotated[float, typer.Option(min=0.01, help="Stop after so long without use.")] = 8.0,
) -> None:
    """Explore a run in a browser: latent space, conformations, maps, curves. Prints the link and the ssh line."""
    typer.echo(f"opening {run}")
    try:
        explore(run, datadir, port, host, socket, idle_hours, _say)
    except StoppedOnRequest:
        # It was not listening yet; to be stopped is how it ends.
        _say("stopped")


def explore(
    run: Path,
    datadir: Path | None,
    port: int | None,
    host: str,
    socket: Path | None,
    idle_hours: float,
    say: Callable[[str], None],
) -> None:
    """Serve the explorer of a run until it is stopped or unused, and ``say`` line by line where it is.

    Raises:
        EnvironmentFault: its libraries are not installed, or nobody can listen there.
        StoppedOnRequest: it was stopped before it listened.
    """
    from dynaflex.report.facts.verdicts import verdicts

    try:
        from dynaflex.viewer.opened import OpenedRun
        from dynaflex.viewer.serve import Address, serve
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            "view.not-installed",
            "the explorer needs a library that is not installed",
            found=f"no module {error.name}",
            fix="pip install 'dynaflex[view]'",
        ) from error
    use_one_thread()
    serve(OpenedRun(run, datadir), lambda: verdicts(run), Address(host, port, socket), idle_hours * 3600.0, say)


def _say(line: str) -> None:
    typer.echo(line, err=True)
