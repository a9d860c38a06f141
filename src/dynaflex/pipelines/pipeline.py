"""The whole of a method but its report: prepare, train both halves, reconstruct."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import torch

from dynaflex import tell
from dynaflex.errors import DamagedCheckpointError, UsageError
from dynaflex.io.star import write_star
from dynaflex.pipelines import embedding, maps
from dynaflex.pipelines.alignment import align_halves
from dynaflex.pipelines.config import RunConfig, Stage
from dynaflex.pipelines.fingerprint import fingerprint, require_unchanged
from dynaflex.pipelines.inputs import InputPaths, Inputs, read_inputs
from dynaflex.pipelines.memory import require_room
from dynaflex.pipelines.method import Method, Work
from dynaflex.pipelines.motion import measure_motion
from dynaflex.pipelines.training import train_half
from dynaflex.run.directory import CONFIG, PROVENANCE, Run
from dynaflex.run.stop import exit_markers, stoppable

STAGES: tuple[Stage, ...] = get_args(Stage)


def run_method(
    method: Method,
    path: Path,
    paths: InputPaths,
    config: RunConfig,
    *,
    resume: bool,
    until: Stage,
    device: torch.device,
    reported: Callable[[Run], AbstractContextManager[None]],
) -> Run:
    """Start or resume a run and take it through the stages up to ``until``.

    All work in the run is done inside ``reported(run)``, which sees how it ends.

    Raises:
        InputError: the inputs do not fit.
        UsageError: a resumed run is asked for other settings than its own.
        ResourceError: the disk or the memory is too small.
        StoppedOnRequest: a signal or RELION asked to stop; the run can be resumed.
    """
    with stoppable(path) as stop:
        if resume and (path / CONFIG).exists():
            run = Run.open(path)
            config = _stored_settings(run, method, config)
            paths = InputPaths.from_dict(run.read_json(PROVENANCE)["inputs"])
            inputs = read_inputs(paths, config)
            require_unchanged(run, inputs)
            plan = method.examine(inputs, config)
        else:
            inputs = read_inputs(paths, config, read_images=True)
            plan = method.examine(inputs, config)
            require_room(path, inputs, config)
            known = fingerprint(paths, inputs.particles)
            run = Run.create(path, method.name, config.model_dump(), paths.as_dict(), known)
            if resume:
                tell.say(f"{path} held no run to resume: a new one was started")
        work = Work(run, inputs, config, plan, device)
        stages = STAGES[: STAGES.index(until) + 1]
        with run.locked(), exit_markers(path), reported(run):
            _prepare(work, method)
            if "train" in stages:
                for half in config.trained_halves:
                    train_half(work, method, half, stop)
                embedding.collect(run, inputs)
            if "reconstruct" in stages and not (run.path / "fsc.json").exists():
                with tell.doing("bringing the halves to one conformation"):
                    align_halves(run)
                with tell.doing("how far everything moves"):
                    measure_motion(run, inputs, device)
                maps.reconstruct_run(run, inputs, device, solver=config.solver)
    return run


def _stored_settings(run: Run, method: Method, asked: RunConfig) -> RunConfig:
    """The settings of a run that is resumed. Those not mentioned on the command line stand there with their defaults.

    Raises:
        UsageError: others were asked for.
        DamagedCheckpointError: the run's are not those that it was started with.
    """
    written = run.config()
    if written.get("method") != method.name:
        raise UsageError(
            "run.other-method", "this run was started with another method", file=run.path,
            expected=str(written.get("method")), found=method.name, fix=f"dynaflex {written.get('method')} --resume",
        )  # fmt: skip
    if not run.settings_are_whole():
        raise DamagedCheckpointError(
            "run.changed-settings", "the settings of this run were changed after it was started",
            file=run.path / CONFIG, expected="the file that dynaflex wrote", fix="put it back, or start another run",
        )  # fmt: skip
    stored, usual = method.config.from_stored(written), method.config()
    for name, value in asked:
        if value != getattr(usual, name) and value != getattr(stored, name):
            raise UsageError(
                "run.other-settings", "a run is resumed with the settings that it was started with", file=run.path,
                field=method.config.option_name(name), expected=getattr(stored, name), found=value,
                fix="leave the option out, or start another run with another -o",
            )  # fmt: skip
    return stored


def _prepare(work: Work, method: Method) -> None:
    """Say what is used, what is excluded, and what the halves share."""
    run, inputs = work.run, work.inputs
    particles = inputs.particles
    excluded = [{"row": item.row, "reason": item.reason} for item in particles.excluded]
    used = len(particles)
    run.write_provenance(counts={"table": used + len(excluded), "used": used, "excluded": excluded})
    for message in particles.warnings:
        run.warn(message)
    grid, train = inputs.full_imaging.grid, inputs.imaging.grid
    run.write_json(
        "grid.json",
        {
            "box": grid.box,
            "pixel_size": grid.pixel_size,
            "train_box": train.box,
            "train_pixel_size": train.pixel_size,
        },
    )
    if not (run.path / "particles.star").exists():
        # A run that is resumed may have its latents in there.
        write_star(embedding.table_with_halves(particles, work.config.seed), run.path / "particles.star")
    tell.say(f"{used} particles used, {len(excluded)} excluded")
    run.write_provenance(shared_between_halves=[*_shared(inputs, work.config), *method.prepare(work)])


def _shared(inputs: Inputs, config: RunConfig) -> list[str]:
    if config.half_sets == "shared":
        return ["the whole model of the motion: both halves were trained as one"]
    mask = "a mask made from the consensus map" if inputs.given_mask is None else "the mask"
    if inputs.independent_starts:
        return [mask, "which box, pixel size and poses the refinement gave"]
    return [mask, f"the consensus map, low-passed to {config.shared_resolution:g} Å, to start from"]
