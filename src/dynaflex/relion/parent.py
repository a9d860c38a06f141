"""The program that RELION starts: a small process that starts the work and says how that ended, whatever became of it.

RELION forgets a job that it has started and looks for a file in the job's folder. The work itself cannot always write
one: the kernel may kill it for want of memory, and a library that cannot be loaded ends it before it has begun. So
nothing is loaded here that could fail, and nothing is done here that could need memory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dynaflex.errors import DynaflexError, EnvironmentFault, ResourceError, StoppedOnRequest
from dynaflex.relion.line import TASKS, job_of
from dynaflex.run.stop import ABORT, ABORTED, FAILURE, PATIENCE, SUCCESS, is_job, mark, unmark

PROGRAM = "relion_python_dynaflex"
WORK = (sys.executable, "-P", "-m", "dynaflex.relion.work")
"""What does the work. Modules in the folder of a project (-P) are not taken for those of Python."""
GRACE = 4.0
"""Seconds that the work has to end itself after SIGTERM: workflow programs kill after five."""
ABORT_GRACE = PATIENCE + 10.0
"""The same after an abort file, which asks for no more than that the work be saved and left."""
_ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_LOOK = 0.1
_HELP = f"""\
{PROGRAM}: dynaflex as RELION's DynaMight job, or as one of its External jobs. RELION types these lines:

  {PROGRAM} {TASKS[0]} --refinement-star-file STAR --output-directory JOB --initial-model MAP ...
  {PROGRAM} {TASKS[1]} JOB ...
  {PROGRAM} {TASKS[2]} JOB ...
  {PROGRAM} {TASKS[3]} JOB ...
  {PROGRAM} --o JOB --in_parts STAR --in_3dref MAP --in_mask MASK --method flex --j THREADS ...

Further options are those of dynaflex dynamight, or of the method: dynaflex dynamight --help.
docs/from-relion.md has all.
"""


def program() -> None:
    """What is typed: leave with the exit code of the work."""
    sys.exit(run_job(sys.argv[1:]))


def run_job(arguments: Sequence[str], work: Sequence[str] = WORK) -> int:
    """Have a line done by ``work``, and say in the folder of its job how that ended; returns its exit code."""
    folder = _folder(arguments)
    if not arguments or (folder is None and {"-h", "--help"} & set(arguments)):
        print(_HELP, end="")
        return 0 if arguments else 2
    return answered([*work, *arguments], folder, GRACE)


def answered(command: Sequence[str], folder: Path | None, grace: float) -> int:
    """Have a command do the work of the job in ``folder``, and say there how that ended; returns its exit code.

    When it is told to stop it has ``grace`` seconds to end itself, and where an abort file asks, 20 at least.
    """
    asked: list[int] = []
    for number in _ASKING:
        signal.signal(number, lambda number, _frame: asked.append(number))
    # A job outlives the terminal that RELION was started from.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if folder is not None:
        with suppress(OSError):
            unmark(folder)
    ending = FAILURE
    try:
        code, stopped = _watched(command, folder, asked, grace)
        ending = SUCCESS if code == 0 else ABORTED if stopped or code == StoppedOnRequest.exit_code else FAILURE
        if code < 0:
            code = StoppedOnRequest.exit_code if stopped else _killed(-code)
        return code
    except OSError as error:
        return _said(EnvironmentFault("relion.no-start", f"the work cannot be started: {error.strerror}"))
    finally:
        if folder is not None:
            with suppress(OSError):
                # The work may have said something itself, before it was killed.
                unmark(folder)
                mark(folder, ending)


def _folder(arguments: Sequence[str]) -> Path | None:
    """Where to say how the job ended: in the folder of one of RELION's jobs, and wherever that was asked for."""
    folder, asked_for = job_of(arguments)
    if folder is None or not (asked_for or is_job(folder)):
        return None
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _watched(command: Sequence[str], folder: Path | None, asked: list[int], grace: float) -> tuple[int, bool]:
    """Run a command to its end; its exit code, and whether it was stopped from here.

    ``asked`` are the signals that have come. Where the end of this process closes the command's standard input, it
    ends too.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as working:
        heard, deadline = 0, float("inf")
        while working.poll() is None:
            if not heard and folder is not None and (folder / ABORT).exists():
                asked.append(signal.SIGUSR1)
            if len(asked) > heard:
                patience = ABORT_GRACE if set(asked) == {signal.SIGUSR1} else grace
                # Whoever asks again and again, as batch systems do, gets no more time by it.
                deadline = min(deadline, time.monotonic() + patience)
                heard = len(asked)
                _tell(working, signal.SIGTERM)
            if time.monotonic() > deadline:
                _tell(working, signal.SIGKILL)
            time.sleep(_LOOK)
        return working.returncode, heard > 0


def _tell(working: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the work; what kills it takes with it whatever it had started."""
    with suppress(ProcessLookupError):
        if number == signal.SIGKILL:
            os.killpg(working.pid, number)
        else:
            working.send_signal(number)


def _killed(number: int) -> int:
    if number == signal.SIGKILL:
        return _said(
            ResourceError(
                "relion.killed", "the work was killed, most often for want of memory",
                fix="ask the queue for more, or give a smaller --train-box or --batch-size in the additional arguments",
            )
        )  # fmt: skip
    name = signal.Signals(number).name
    return _said(EnvironmentFault("relion.signal", f"the work was ended by {name}", fix="see above"))


def _said(error: DynaflexError) -> int:
    with suppress(OSError):
        print(f"error: {error}", file=sys.stderr, flush=True)
    return error.exit_code
