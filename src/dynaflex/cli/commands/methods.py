"""The command of a method: the whole pipeline, with the method's own files and settings as options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from dynaflex.cli import inputs
from dynaflex.cli.help import Command
from dynaflex.cli.settings import MethodCommand, with_settings
from dynaflex.cli.words import done
from dynaflex.config import RunConfig
from dynaflex.errors import EnvironmentFault
from dynaflex.prepare.paths import AUTO, InputPaths
from dynaflex.training.installed import method_named
from dynaflex.training.method import AnyMethod


def add_to(app: typer.Typer, name: str, group: str) -> None:
    """Make the command of a method, in a group of the help; that of a broken one says why it is."""
    try:
        method = method_named(name)
    except EnvironmentFault as error:
        summary = f"{error.problem[0].upper()}{error.problem[1:]}: try it to see why."
        app.command(name, cls=_refusing(error), help=summary, rich_help_panel=group)(lambda: None)
    else:
        app.command(name, cls=MethodCommand, help=method.summary, rich_help_panel=group)(command_of(method))


def command_of(method: AnyMethod) -> Callable[..., None]:
    """The whole pipeline of a method."""

    @with_settings(method.config)
    def command(
        particles: inputs.Particles,
        map: inputs.Map,
        out: inputs.Out,
        mask: inputs.Mask = None,
        half_maps: inputs.HalfMaps = None,
        datadir: inputs.ImageFolder = None,
        strip_prefix: inputs.Prefix = None,
        resume: inputs.Resume = False,
        until: inputs.Until = "report",
        device: inputs.RunDevice = "auto",
        gpus: inputs.RunGpus = None,
        threads: inputs.RunThreads = None,
        cache: inputs.RunCache = AUTO,
        skip_check: inputs.SkipCheck = False,
        *,
        own: dict[str, Path],
        config: RunConfig,
    ) -> None:
        """Take a run up to the stage ``until``, and say where its results are.

        A new run first compares its particles with the map, unless ``skip_check``; a resumed one has done so.
        """
        from dynaflex import tell
        from dynaflex.cli.typed import to_resume
        from dynaflex.pipeline import resume_run, start_run
        from dynaflex.prepare.before_training import checked, unchecked
        from dynaflex.prepare.device import with_threads
        from dynaflex.report.reported import reported_task
        from dynaflex.results.reopen import Moved
        from dynaflex.run.directory import CONFIG
        from dynaflex.run.monitor import shown
        from dynaflex.workers.crew import crew_of
        from dynaflex.workers.process import followed

        if followed():
            return
        paths = InputPaths(particles, map, mask, half_maps, own, datadir, strip_prefix)
        with shown(), with_threads(threads), crew_of(gpus, device) as crew:
            task = reported_task(until, device, to_resume(out), cache, crew)
            if resume and (out / CONFIG).exists():
                resume_run(method, out, Moved.of(paths), config, task)
            else:
                if resume:
                    tell.say(f"{out} holds no run to resume: a new one is started")
                start_run(method, out, paths, config, task, unchecked if skip_check else checked)
        for line in done(out, until):
            typer.echo(line)

    return command


def _refusing(error: EnvironmentFault) -> type[Command]:
    class Refusing(Command):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            raise error

    return Refusing
