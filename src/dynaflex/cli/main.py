"""The program: what it prints when a command ends badly, and the exit code that it leaves with."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from dynaflex.errors import DynaflexError, StoppedOnRequest
from dynaflex.machine import ran_out_of_memory
from dynaflex.run.stop import stoppable

_PROGRAM = "dynaflex"


def main() -> None:
    """Run the command line and leave with the exit code of docs/errors: 0 done, 2 usage, 3 input, and so on."""
    leave_after(dynaflex, sys.argv[1:])


def leave_after(program: Callable[[list[str]], None], typed: list[str]) -> None:
    """Leave with the exit code of how ``program`` ends that is given what was ``typed``, but for ``--debug``."""
    arguments = [argument for argument in typed if argument != "--debug"]
    debug = len(arguments) < len(typed)
    try:
        # Whoever types Ctrl-C while the program is still loading means it as well.
        with stoppable():
            program(arguments)
    except StoppedOnRequest as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except DynaflexError as error:
        _fail(str(error), error.exit_code, debug)
    except Exception as error:
        if ran_out_of_memory(error):
            _fail(f"out of memory: {error}. Fix: a smaller --train-box or --batch-size [memory]", 5, debug)
        if _is_not_loaded(error):
            fix = "install dynaflex anew, in an environment of its own"
            _fail(f"a library cannot be loaded: {error}. Fix: {fix} [library]", 1, debug)
        _fail(f"{type(error).__name__}: {error}. This is a fault in dynaflex; --debug shows where [bug]", 1, debug)


def _is_not_loaded(error: Exception) -> bool:
    """True if it is a library of others that fails, or one that it needs."""
    if isinstance(error, ImportError):
        return (error.name or "").partition(".")[0] != _PROGRAM
    return isinstance(error, OSError) and "shared object file" in str(error)


def dynaflex(arguments: list[str]) -> None:
    """One command, which ends with ``SystemExit``."""
    from dynaflex.cli.app import app

    app(args=arguments, prog_name=_PROGRAM)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
