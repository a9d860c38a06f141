"""The program ``dynaflex``: what is to be written into the folder of one of RELION's jobs is watched as that job."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dynaflex.relion.line import values_of
from dynaflex.relion.parent import ABORT_GRACE, answered
from dynaflex.run.stop import is_job

WORK = (sys.executable, "-P", "-m", "dynaflex.relion.own")
_OUT = ("-o", "--out")
_GOES_ON = "resume"


def program() -> None:
    """What is typed: run it here, or watch it run where RELION waits for an answer."""
    typed = sys.argv[1:]
    folder = job_written_to(typed)
    if folder is not None:
        sys.exit(answered([*WORK, *typed], folder, ABORT_GRACE))
    from dynaflex.cli.main import main

    main()


def job_written_to(typed: Sequence[str]) -> Path | None:
    """The folder of a job of RELION that a command line writes to: its ``-o``, or the run that it resumes."""
    resumed = typed[1:2] if typed[:1] == [_GOES_ON] else []
    named = [*resumed, *(value for option, value in values_of(typed) if option in _OUT)]
    jobs = (folder for folder in map(Path, filter(None, named)) if is_job(folder))
    return next(jobs, None)


def _work() -> None:
    from dynaflex.cli.main import main
    from dynaflex.relion.work import end_with_parent

    end_with_parent()
    sys.argv[0] = "dynaflex"
    main()


if __name__ == "__main__":
    _work()
