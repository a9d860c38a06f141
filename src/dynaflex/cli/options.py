"""What the commands of both methods ask of their options."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from pydantic import ValidationError

from dynaflex import tell
from dynaflex.cli.reporting import reported, to_resume
from dynaflex.errors import EnvironmentFault, UsageError
from dynaflex.pipelines.before_training import checked, unchecked
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.inputs import InputPaths
from dynaflex.pipelines.method import Method
from dynaflex.pipelines.pipeline import Task, resume_run, start_run
from dynaflex.pipelines.reopen import Moved
from dynaflex.run.directory import CONFIG
from dynaflex.run.monitor import shown


def run_pipeline(
    method: Method,
    out: Path,
    paths: InputPaths,
    settings: dict[str, Any],
    *,
    resume: bool,
    until: str,
    device: str,
    skip_check: bool,
) -> None:
    """Take a run of a method up to the stage ``until``, and say where its results are.

    A new run first compares its particles with the map, unless ``skip_check``; a resumed one has done so.
    """
    config = configuration(method.config, settings)
    with shown():
        ending = partial(reported, command=to_resume(out), when_done=until == "report")
        task = Task(until, pick_device(device), ending)
        if resume and (out / CONFIG).exists():
            resume_run(method, out, Moved.of(paths), config, task)
        else:
            if resume:
                tell.say(f"{out} holds no run to resume: a new one is started")
            start_run(unchecked(method) if skip_check else checked(method), out, paths, config, task)
    typer.echo(f"done: {out}")


def configuration(method: type[RunConfig], settings: dict[str, Any]) -> RunConfig:
    """The settings, if they can mean anything.

    Raises:
        UsageError: a number is out of its range.
    """
    try:
        return method(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        option = _OPTIONS.get(name, name.replace("_", "-"))
        raise UsageError(
            "usage.range",
            f"--{option} cannot be {first['input']!r}",
            expected=first["msg"].removeprefix("Input should be "),
        ) from error


_OPTIONS = {"n_gaussians": "gaussians", "n_classes": "classes", "particle_diameter": "diameter"}


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes the first GPU there is.

    Raises:
        EnvironmentFault: the device does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    # The kernels have threads of their own. Torch's spend their time waiting for each other: on tensors of this size
    # two of them are slower than one, and many times slower on a machine that does something else as well.
    torch.set_num_threads(1)
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EnvironmentFault(
            "device.missing",
            f"the device {name!r} cannot be used here",
            found=str(error).splitlines()[0],
            fix="--device cpu",
        ) from error
    return device


def choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not among those ``allowed``.

    Raises:
        UsageError: it is not.
    """
    if value not in allowed:
        raise UsageError("usage.choice", f"{option} cannot be {value!r}", expected=" or ".join(allowed))
