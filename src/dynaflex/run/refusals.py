"""What a run directory is refused for, each with what helps, and what to type to go on."""

from __future__ import annotations

import shlex
from pathlib import Path

from dynaflex.errors import DamagedCheckpointError, EnvironmentFault, UsageError


def to_resume(path: Path, *options: str) -> str:
    """What to type to go on with a run where it stopped."""
    return " ".join([f"dynaflex resume {shlex.quote(str(path))}", *options])


def not_empty(path: Path, there: list[str]) -> UsageError:
    """The directory is no run and holds what one would write over."""
    return UsageError(
        "run.not-empty", "this directory is not a run, and holds what a run would overwrite", file=path,
        found=", ".join(there[:5]), fix="choose another -o",
    )  # fmt: skip


def unwritable(path: Path, error: OSError) -> EnvironmentFault:
    """The directory cannot be made."""
    return EnvironmentFault(
        "run.unwritable", f"the run directory cannot be made: {error.strerror}", file=path,
        fix="choose a directory that you may write to with -o",
    )  # fmt: skip


def untrained(path: Path) -> UsageError:
    """What is asked for comes of a training that has not ended."""
    return UsageError("run.untrained", "this run has no trained model yet", file=path, fix=to_resume(path))


def lost_list(path: Path) -> DamagedCheckpointError:
    """Nobody knows which files of the run are as they were written."""
    return DamagedCheckpointError(
        "run.lost-list", "the list of the run's files is missing, or that of another run", file=path,
        fix=f"put a copy back; or, if you trust the files, dynaflex doctor {path.parent} --accept-files",
    )  # fmt: skip
