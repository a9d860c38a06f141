"""The commands that a report names, to be typed anywhere."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from dynaflex.io.paths import absolute

_PROGRAM = "dynaflex"


def again() -> str:
    """The command that this process was started with, to be typed anywhere."""
    return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([_program(), *sys.argv[1:]])}"


def to_resume(run: Path) -> str:
    """The command that goes on with a run, to be typed anywhere."""
    return shlex.join([_program(), "resume", str(absolute(run))])


def _program() -> str:
    """The program as it was typed, if by a path then by its whole one."""
    typed = Path(sys.argv[0])
    if typed.name != _PROGRAM:
        return _PROGRAM
    return str(absolute(typed)) if typed.parent.name else _PROGRAM
