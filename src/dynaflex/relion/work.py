"""The work of a job, in a process of its own: ``python -m dynaflex.relion.work`` with RELION's line."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from dynaflex.cli.main import leave_after
from dynaflex.errors import StoppedOnRequest
from dynaflex.relion.line import read_line
from dynaflex.relion.parent import GRACE, PROGRAM

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Do what the line asks for, and leave with its exit code."""
    end_with_parent()
    # Progress is read in files: lines, and no bars, whatever standard output is.
    os.environ["TERM"] = "dumb"
    sys.argv[0] = PROGRAM
    leave_after(_work, sys.argv[1:])


def _work(arguments: list[str]) -> None:
    line = read_line(arguments)
    if line.threads is not None:
        # Libraries read this when they are loaded.
        os.environ.update(dict.fromkeys(_THREADS, str(line.threads)))
    from dynaflex.relion.tasks import do

    do(line)


def end_with_parent() -> None:
    """From now on, stop when the process that started this one ends: its end closes standard input."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(StoppedOnRequest.exit_code)


if __name__ == "__main__":
    main()
