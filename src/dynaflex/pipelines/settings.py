"""The settings that a run was started with, read without any of the mathematics they are for."""

from __future__ import annotations

from dynaflex.errors import UsageError
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.dynamight.config import DynamightConfig
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.run.directory import Run

CONFIGS: dict[str, type[RunConfig]] = {"dynamight": DynamightConfig, "flex": FlexConfig}
"""The settings of each method."""


def method_name(run: Run) -> str:
    """The method that a run was made with.

    Raises:
        UsageError: this version does not know it.
    """
    name = str(run.config().get("method"))
    if name not in CONFIGS:
        raise UsageError(
            "run.method",
            "unknown method",
            file=run.path / "config.json",
            expected=" or ".join(CONFIGS),
            found=name,
            fix="use the version of dynaflex that made the run; provenance.json names it",
        )
    return name


def config_of(run: Run) -> RunConfig:
    """The settings that a run was started with; errors as :func:`method_name`."""
    return CONFIGS[method_name(run)].from_stored(run.config())
