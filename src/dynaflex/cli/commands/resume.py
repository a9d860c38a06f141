"""``resume``: go on where a run stopped; nothing else need be given."""

from __future__ import annotations

import typer

from dynaflex.cli import inputs
from dynaflex.cli.moved import MovedImages, MovedMap, MovedMask, MovedParticles, MovedPrefix
from dynaflex.cli.options import Cache, Device, Gpus, RunFolder, Threads
from dynaflex.cli.words import done
from dynaflex.prepare.paths import AUTO


def resume_command(
    run: RunFolder,
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    strip_prefix: MovedPrefix = None,
    until: inputs.Until = "report",
    device: Device = "auto",
    gpus: Gpus = None,
    threads: Threads = None,
    cache: Cache = AUTO,
) -> None:
    """Go on with a run where it stopped, with its own inputs and settings."""
    from dynaflex.cli.typed import to_resume
    from dynaflex.pipeline import resume_run
    from dynaflex.prepare.device import with_threads
    from dynaflex.report.reported import reported_task
    from dynaflex.results.reopen import Moved
    from dynaflex.results.settings import open_run
    from dynaflex.results.trained import method_of
    from dynaflex.run.monitor import shown
    from dynaflex.workers.crew import crew_of
    from dynaflex.workers.process import followed

    if followed():
        return
    with shown(), with_threads(threads), crew_of(gpus, device) as crew:
        task = reported_task(until, device, to_resume(run), cache, crew)
        resume_run(method_of(open_run(run)), run, Moved(particles, map, mask, datadir, strip_prefix), None, task)
    for line in done(run, until):
        typer.echo(line)
