"""What a run was started with, settings and inputs, read without any of the mathematics they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dynaflex.config import RunConfig, fault_of
from dynaflex.errors import OtherVersionError, UsageError
from dynaflex.prepare.paths import InputPaths
from dynaflex.run.directory import CONFIG, PROVENANCE, Run
from dynaflex.run.refusals import to_resume
from dynaflex.training.installed import method_named, names
from dynaflex.training.method import AnyMethod, Config, Method, Plan
from dynaflex.version import __version__


def open_run(path: Path) -> Run:
    """A run that this version can go on with.

    Raises:
        InputError: there is no run there, or another version wrote it with other settings than this one knows.
        UsageError: its method is not installed here.
        DamagedCheckpointError: the list of its files, or that of its settings, is damaged.
    """
    run = Run.open(path)
    config_of(run)
    return run


def method_of(run: Run) -> AnyMethod:
    """The method that a run was made with.

    Raises:
        UsageError: it is not installed here.
        EnvironmentFault: the package that brings it is broken.
    """
    name = str(run.config().get("method"))
    if name not in names():
        raise UsageError(
            "run.method", "unknown method", file=run.path / CONFIG, expected=" or ".join(names()), found=name,
            fix=f"work on this run with {_writer(run)}, which made it, and the package that brought the method",
        )  # fmt: skip
    return method_named(name)


def config_of(run: Run) -> RunConfig:
    """The settings that a run was started with; errors as :func:`method_of` and :func:`settings_as`."""
    found: RunConfig = settings_as(run, method_of(run).config)
    return found


def settings_as(run: Run, config: type[Config]) -> Config:
    """The settings of a run of a method with this ``config``, each as it was written down: a default may have been
    another then.

    Raises:
        OtherVersionError: there are others than this version knows, or values that it does not.
    """
    stored = {name: value for name, value in run.config().items() if name != "method"}
    for name, value in stored.items():
        if name not in config.model_fields:
            raise _other_version(run, CONFIG, name, "no such setting", repr(value))
    for name in config.model_fields:
        if name not in stored:
            raise _other_version(run, CONFIG, name, "a setting of that name", "none")
    try:
        return config(**stored)
    except ValidationError as error:
        name, found, expected = fault_of(error)
        raise _other_version(run, CONFIG, name, expected, repr(found)) from error


def settings_again(run: Run, method: Method[Config, Plan], asked: Config | None) -> Config:
    """The settings of a run that is resumed. Those not mentioned on the command line stand there with their defaults.

    Raises:
        UsageError: others were asked for.
        OtherVersionError: another version wrote them.
        DamagedCheckpointError: the run's are not those that it was started with.
    """
    written = method_of(run).name
    if written != method.name:
        raise UsageError(
            "run.other-method", "this run was started with another method", file=run.path,
            expected=written, found=method.name, fix=to_resume(run.path),
        )  # fmt: skip
    stored, usual = settings_as(run, method.config), method.config()
    for name, value in asked or ():
        if value != getattr(usual, name) and value != getattr(stored, name):
            raise UsageError(
                "run.other-settings", "a run is resumed with the settings that it was started with", file=run.path,
                field=method.config.option_name(name), expected=getattr(stored, name), found=value,
                fix=f"{to_resume(run.path)}, or start another run with another -o",
            )  # fmt: skip
    return stored


def inputs_of(run: Run) -> InputPaths:
    """The paths of a run's inputs, where they were when it last read them.

    Raises:
        OtherVersionError: they were written down in another way than this version does.
    """
    name = "inputs"
    stored: Any = run.read_json(PROVENANCE).get(name)
    try:
        return InputPaths.from_dict(stored)
    except (AttributeError, LookupError, TypeError) as error:
        raise _other_version(run, PROVENANCE, name, "paths by the names of inputs", repr(stored)) from error


def _other_version(run: Run, file: str, entry: str, expected: str, found: str) -> OtherVersionError:
    return OtherVersionError(
        "run.other-version", f"dynaflex {__version__} cannot read what this run was started with",
        file=run.path / file, field=entry, expected=expected, found=f"{found}, in a run of {_writer(run)}",
        fix=f"work on this run with {_writer(run)}, which made it, or start another with this version and another -o",
    )  # fmt: skip


def _writer(run: Run) -> str:
    """The version that started a run."""
    return f"dynaflex {run.read_json(PROVENANCE).get('version', 'of an unknown version')}"
