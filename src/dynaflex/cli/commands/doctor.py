"""``doctor``: the health of a run directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dynaflex.cli.options import AsJson, RunFolder
from dynaflex.errors import DamagedCheckpointError

if TYPE_CHECKING:
    from dynaflex.results.doctor import Diagnosis


def doctor_command(
    run: RunFolder,
    as_json: AsJson = False,
    force_unlock: Annotated[
        bool, typer.Option("--force-unlock", help="Remove the lock of a machine silent for ten minutes.")
    ] = False,
    accept_files: Annotated[
        bool, typer.Option("--accept-files", help="List the run's files as they are now: you vouch for them.")
    ] = False,
) -> None:
    """Say what state a run is in, and what to do next. Exit code 8 if something in it is damaged or has changed."""
    from dynaflex.results.doctor import examine
    from dynaflex.run.directory import LOCK, Run
    from dynaflex.run.lock import break_lock

    if force_unlock:
        by = break_lock(run / LOCK)
        typer.echo("there was no lock" if by is None else f"removed the lock of {by}", err=as_json)
    if accept_files:
        opened = Run(run)
        with opened.locked():
            opened.files.begin()
    found = examine(run)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        for line in lines(found):
            typer.echo(line)
    if not found.healthy:
        raise typer.Exit(DamagedCheckpointError.exit_code)


def lines(found: Diagnosis) -> list[str]:
    """What was found, for people."""
    whole = [name for name, fault in found.checkpoints.items() if fault is None]
    text = [
        f"run: {found.run}",
        f"complete up to: {found.stage}",
        f"whole checkpoints: {', '.join(whole) or 'none'}",
        *(f"damaged checkpoint: {name}: {fault}" for name, fault in found.checkpoints.items() if fault is not None),
        *(f"damaged: {fault}" for fault in found.damaged),
        *(f"input changed: {change}" for change in found.inputs_changed),
        *(f"input gone: {gone}" for gone in found.inputs_gone),
        *(f"note: {note}" for note in found.notes),
        *([f"kernels: {', then '.join(found.kernels)}"] if found.kernels else []),
        f"disk: {found.size / 1e6:.1f} MB used, {found.free / 1e9:.1f} GB free",
    ]
    if found.holder is not None:
        state = "is gone, or silent for ten minutes" if found.abandoned else "is at work"
        text.append(f"lock: {found.holder} {state} (last sign of life {found.heartbeat:.0f} s ago)")
    if found.versions.get("then") != found.versions.get("now"):
        text.append(f"versions: started with {found.versions.get('then')}, this is {found.versions.get('now')}")
    return [*text, f"what to do: {found.todo}"]
