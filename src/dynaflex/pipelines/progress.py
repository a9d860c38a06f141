"""What a person sees while a run works: bars with time left on a terminal, lines in a log file."""

from __future__ import annotations

import io
import resource
import sys
from contextlib import suppress
from types import TracebackType
from typing import TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class _Undisturbed(io.TextIOBase):
    """Standard error, for as long as somebody reads it: a closed terminal or pipe must not end a run."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()


class Monitor:
    """A progress display with one bar per task; without a terminal it prints the messages alone."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(file=cast(TextIO, _Undisturbed()), quiet=quiet, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Monitor:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self.console.print(message, markup=False, soft_wrap=True)

    def update(self, task: str, done: float, total: float, figures: str = "") -> None:
        """Set the bar of ``task`` to ``done`` of ``total`` with a few figures beside it."""
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, total=total, figures="")
        self._progress.update(
            self._tasks[task], completed=done, total=total, figures=f"{figures}  {memory_mb():.0f} MB".strip()
        )


def memory_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
