"""``resume``: go on where a run stopped; nothing else need be given."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dynaflex.cli.moved import MovedImages, MovedMap, MovedMask, MovedParticles
from dynaflex.cli.options import choice, pick_device
from dynaflex.cli.reporting import reported, to_resume
from dynaflex.pipelines.pipeline import STAGES, Task, resume_run
from dynaflex.pipelines.predict import method_of
from dynaflex.pipelines.reopen import Moved
from dynaflex.run.directory import Run
from dynaflex.run.monitor import shown


def resume_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    until: Annotated[str, typer.Option(help=f"Last stage: {', '.join(STAGES)}.")] = "report",
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:1'.")] = "auto",
) -> None:
    """Go on with a run where it stopped, with its own inputs and settings."""
    choice("--until", until, STAGES)
    with shown():
        task = Task(until, pick_device(device), partial(reported, command=to_resume(run), when_done=until == "report"))
        resume_run(method_of(Run.open(run)), run, Moved(particles, map, mask, datadir), None, task)
    typer.echo(f"done: {run}")
