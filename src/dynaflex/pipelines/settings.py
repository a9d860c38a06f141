"""The method and the settings that a run was started with, read without any of the mathematics they are for."""

from __future__ import annotations

from dynaflex.errors import UsageError
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.method import AnyMethod
from dynaflex.pipelines.methods import method_named, names
from dynaflex.run.directory import Run


def method_of(run: Run) -> AnyMethod:
    """The method that a run was made with.

    Raises:
        UsageError: it is not installed here.
        EnvironmentFault: the package that brings it is broken.
    """
    name = str(run.config().get("method"))
    if name not in names():
        raise UsageError(
            "run.method",
            "unknown method",
            file=run.path / "config.json",
            expected=" or ".join(names()),
            found=name,
            fix="use the version of dynaflex that made the run, which provenance.json names, and the package that "
            "brought the method",
        )
    return method_named(name)


def config_of(run: Run) -> RunConfig:
    """The settings that a run was started with; errors as :func:`method_of`."""
    config: RunConfig = method_of(run).config.from_stored(run.config())
    return config
