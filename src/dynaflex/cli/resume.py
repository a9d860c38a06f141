"""``resume``: go on where a run stopped; nothing else need be given."""

from __future__ import annotations

from functools import partial

import typer

from dynaflex.cli import inputs
from dynaflex.cli.moved import MovedImages, MovedMap, MovedMask, MovedParticles, MovedPrefix
from dynaflex.cli.options import Device, RunFolder, pick_device


def resume_command(
    run: RunFolder,
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    strip_prefix: MovedPrefix = None,
    until: inputs.Until = "report",
    device: Device = "auto",
) -> None:
    """Go on with a run where it stopped, with its own inputs and settings."""
    from dynaflex.cli.reporting import reported, to_resume
    from dynaflex.pipelines.pipeline import Task, resume_run
    from dynaflex.pipelines.predict import method_of
    from dynaflex.pipelines.reopen import Moved
    from dynaflex.run.directory import Run
    from dynaflex.run.monitor import shown

    with shown():
        ending = partial(reported, command=to_resume(run), when_done=until == "report")
        task = Task(until, pick_device(device), ending)
        resume_run(method_of(Run.open(run)), run, Moved(particles, map, mask, datadir, strip_prefix), None, task)
    typer.echo(f"done: {run}")
