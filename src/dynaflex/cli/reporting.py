"""The report of a run whose work ends here, however it ends."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynaflex import tell
from dynaflex.errors import StoppedOnRequest
from dynaflex.report.ending import Ending
from dynaflex.report.html import write_report
from dynaflex.run.directory import Run

_PROGRAM = "dynaflex"


@contextmanager
def reported(run: Run, command: str, *, when_done: bool = True) -> Iterator[None]:
    """Write the report when the work inside ends: the whole one ``when_done``, else a short one that names ``command``.

    A short one costs a second or two, so that a machine that is about to go has time for it. A report that cannot be
    written is a warning, and how the work ended stays what it was. What ended it stands in the run's log.

    Raises:
        StoppedOnRequest: the whole report was stopped; resuming the run writes it.
    """
    try:
        yield
    except (Exception, StoppedOnRequest) as error:
        tell.note(f"ended: {error}")
        _try_to_write(run, Ending.of(error, command))
        raise
    if when_done:
        _try_to_write(run, None)


def again() -> str:
    """The command that this process was started with, to be typed anywhere."""
    return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([_program(), *sys.argv[1:]])}"


def to_resume(run: Path) -> str:
    """The command that goes on with a run, to be typed anywhere."""
    return shlex.join([_program(), "resume", str(run.absolute())])


def _program() -> str:
    """The program as it was typed, if by a path then by its whole one."""
    typed = Path(sys.argv[0])
    if typed.name != _PROGRAM:
        return _PROGRAM
    return str(typed.absolute()) if typed.parent.name else _PROGRAM


def _try_to_write(run: Run, ending: Ending | None) -> None:
    if not run.path.is_dir():
        return
    try:
        with tell.doing("report"):
            written = write_report(run.path, ending)
        tell.say(f"report: {written}")
    except StoppedOnRequest:
        if ending is None:
            raise
    except Exception as error:
        # Whatever goes wrong with the account of a run, the run is what counts.
        tell.warn(f"no report was written: {type(error).__name__}: {error}")
