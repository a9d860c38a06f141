"""The report of a run whose work ends here, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from dynaflex import spent, tell
from dynaflex.config import Stage
from dynaflex.errors import StoppedOnRequest, UsageError
from dynaflex.pipeline import Task
from dynaflex.prepare.device import pick_device
from dynaflex.prepare.paths import AUTO
from dynaflex.report.facts.ending import Ending
from dynaflex.report.html import write_report
from dynaflex.run.directory import PAGE, Run
from dynaflex.workers.crew import Crew


def reported_task(until: Stage, device: str, command: str, cache: str = AUTO, crew: Crew | None = None) -> Task:
    """What is asked of a run, up to the stage ``until`` on a device, told in its report; ``command`` goes on with it.

    ``cache`` says where images are kept ready, ``crew`` who works on the run with this process.

    Raises:
        EnvironmentFault: the device does not exist here.
    """
    told = partial(reported, command=command, when_done=until == "report")
    return Task(until, pick_device(device), told, cache, crew)


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
    except UsageError:
        # What cannot be done was not begun, and the report of what was done stays.
        raise
    except (Exception, StoppedOnRequest) as error:
        tell.note(f"ended: {error}")
        _try_to_write(run, Ending.of(error, command))
        raise
    if when_done:
        _try_to_write(run, None)


def rewrite(run: Run) -> None:
    """Write the whole report again, of a run that has one: something that it shows has been added."""
    if (run.path / PAGE).is_file():
        _try_to_write(run, None)


def _try_to_write(run: Run, ending: Ending | None) -> None:
    if not run.path.is_dir():
        return
    try:
        with tell.doing("report"), spent.on("report"):
            written = write_report(run.path, ending)
        tell.say(f"report: {written}")
    except StoppedOnRequest:
        if ending is None:
            raise
    except Exception as error:
        # Whatever goes wrong with the account of a run, the run is what counts.
        tell.warn(f"no report was written: {type(error).__name__}: {error}")
