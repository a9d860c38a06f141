"""``dynamight`` and ``flex``: the whole pipeline of a method."""

from __future__ import annotations

from pathlib import Path

import typer

from dynaflex.cli import inputs
from dynaflex.cli.settings import with_settings
from dynaflex.pipelines.config import RunConfig, Stage
from dynaflex.pipelines.dynamight.config import DynamightConfig
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.input_paths import InputPaths


@with_settings(DynamightConfig)
def dynamight_command(
    particles: inputs.Particles,
    map: inputs.Map,
    out: inputs.Out,
    mask: inputs.Mask = None,
    half_maps: inputs.HalfMaps = None,
    model: inputs.Model = None,
    datadir: inputs.ImageFolder = None,
    strip_prefix: inputs.Prefix = None,
    resume: inputs.Resume = False,
    until: inputs.Until = "report",
    device: inputs.RunDevice = "auto",
    skip_check: inputs.SkipCheck = False,
    *,
    config: DynamightConfig,
) -> None:
    """Learn the motion with DynaMight and reconstruct corrected half-maps."""
    paths = InputPaths(particles, map, mask, half_maps, atoms=model, datadir=datadir, strip_prefix=strip_prefix)
    _run("dynamight", out, paths, config, resume=resume, until=until, device=device, skip_check=skip_check)


@with_settings(FlexConfig)
def flex_command(
    particles: inputs.Particles,
    map: inputs.Map,
    out: inputs.Out,
    mask: inputs.Mask = None,
    half_maps: inputs.HalfMaps = None,
    mesh: inputs.Mesh = None,
    stationary: inputs.Stationary = None,
    latents: inputs.Latents = None,
    initial_latents: inputs.LatentsBefore = None,
    datadir: inputs.ImageFolder = None,
    strip_prefix: inputs.Prefix = None,
    resume: inputs.Resume = False,
    until: inputs.Until = "report",
    device: inputs.RunDevice = "auto",
    skip_check: inputs.SkipCheck = False,
    *,
    config: FlexConfig,
) -> None:
    """Learn the motion with 3DFlex and reconstruct corrected half-maps at full resolution."""
    paths = InputPaths(
        particles, map, mask, half_maps, mesh=mesh, stationary=stationary, latents=latents or initial_latents,
        datadir=datadir, strip_prefix=strip_prefix,
    )  # fmt: skip
    _run("flex", out, paths, config, resume=resume, until=until, device=device, skip_check=skip_check)


def _run(
    method: str,
    out: Path,
    paths: InputPaths,
    config: RunConfig,
    *,
    resume: bool,
    until: Stage,
    device: str,
    skip_check: bool,
) -> None:
    """Take a run of a method up to the stage ``until``, and say where its results are.

    A new run first compares its particles with the map, unless ``skip_check``; a resumed one has done so.
    """
    from dynaflex import tell
    from dynaflex.cli.typed import to_resume
    from dynaflex.pipelines.before_training import checked, unchecked
    from dynaflex.pipelines.pipeline import resume_run, start_run
    from dynaflex.pipelines.predict import METHODS
    from dynaflex.pipelines.reopen import Moved
    from dynaflex.report.reported import reported_task
    from dynaflex.run.directory import CONFIG
    from dynaflex.run.monitor import shown

    chosen = METHODS[method]
    with shown():
        task = reported_task(until, device, to_resume(out))
        if resume and (out / CONFIG).exists():
            resume_run(chosen, out, Moved.of(paths), config, task)
        else:
            if resume:
                tell.say(f"{out} holds no run to resume: a new one is started")
            start_run(unchecked(chosen) if skip_check else checked(chosen), out, paths, config, task)
    typer.echo(f"done: {out}")
