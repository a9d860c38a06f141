"""What a person sees while a command works: bars on a terminal, plain lines anywhere else, the same lines in a log."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from dynaflex import tell
from dynaflex.run.repeat import repeating

SILENCE = 10.0
"""Seconds without a word after which a plain line says what is being done, for the first ten minutes."""
SILENCE_LATER = 60.0
"""The same in what goes on for longer: a log of a day's work is to be read."""
_EARLY = 600.0
_LOOK = _SHORT = 1.0
_NAME = 40
"""Characters of the name of some work that a bar shows."""


class _Undisturbed(io.TextIOBase):
    """A stream, for as long as somebody reads it: a closed terminal or pipe must not end a run.

    It is the stream that there was when the monitor began, whatever stands in its place meanwhile.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@dataclass
class _Work:
    """A piece of work: when it ``began`` and how far it was then, and how far it is."""

    began: float
    first: float
    total: float | None
    done: float
    figures: str = ""

    @property
    def finished(self) -> bool:
        return _is_all(self.done, self.total)

    def is_worth_a_line(self, now: float) -> bool:
        """Whether its end is: not that of what was done in no time and has no figures."""
        return bool(self.figures) or now - self.began >= _SHORT

    def words(self, now: float) -> str:
        """How far it is and how long it will take, for a line."""
        spent = now - self.began
        if self.total is None:
            return f"{duration(spent)} so far"
        parts = [self.figures] if self.figures else []
        if self.finished:
            return ", ".join([*parts, f"took {duration(spent)}"])
        parts.insert(0, f"{self.done / max(self.total, 1e-9):.0%}")
        if self.done > self.first:
            parts.append(f"about {duration(spent * (self.total - self.done) / (self.done - self.first))} left")
        return ", ".join(parts)


class Lines:
    """Plain lines through ``write``: one when a piece of work ends, and one whenever nothing was said for a while."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._work: dict[str, _Work] = {}
        self._spoke = time.monotonic()
        self._guard = threading.RLock()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear all that is told while inside."""
        with tell.listening(self), repeating(_LOOK, self._break_silence):
            yield

    def say(self, message: str) -> None:
        """Write the line."""
        with self._guard:
            self._spoke = time.monotonic()
            self._write(message)

    note = say

    def warn(self, message: str) -> None:
        """Write the line, marked as a warning."""
        self.say(f"warning: {message}")

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None:
        """Write a line if this is the end, or the first word for a while."""
        with self._guard:
            now, work = time.monotonic(), self._work.get(task)
            if work is None or (work.finished and not _is_all(done, total)):
                work = self._work[task] = _Work(now, done, total, done)
            elif work.finished:
                return
            work.done, work.total, work.figures = done, total, figures
            if work.is_worth_a_line(now) if work.finished else now - self._spoke >= _patience(work, now):
                self.say(f"{task}: {work.words(now)}")

    def _break_silence(self) -> None:
        """Say what is being done, if nothing was said for long."""
        with self._guard:
            now, last = time.monotonic(), None
            for name, work in self._work.items():
                last = last if work.finished else (name, work)
            if last is not None and now - self._spoke >= _patience(last[1], now):
                self.say(f"{last[0]}: {last[1].words(now)}")


class Bars:
    """A bar for every piece of work, with its figures and the time left, on a terminal; a line when it is done."""

    def __init__(self, console: Console) -> None:
        # Nothing is put in the place of sys.stdout and sys.stderr: what is drawn through its own stand-in never ends.
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=_NAME, overflow="ellipsis")),
            BarColumn(bar_width=20),
            _Share(table_column=Column(no_wrap=True)),
            _Figures(),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            _TimeLeft(table_column=Column(no_wrap=True)),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._work: dict[str, _Work] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear all that is told while inside, and draw it."""
        with tell.listening(self), self._bars:
            yield

    def say(self, message: str) -> None:
        """Print the line above the bars."""
        self._console.print(message, markup=False)

    def note(self, message: str) -> None:
        """Print nothing: a bar shows it."""

    def warn(self, message: str) -> None:
        """Print nothing: warnings have a stream of their own."""

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None:
        """Move the bar of the task; a full one makes room for a line."""
        now, work = time.monotonic(), self._work.get(task)
        if work is None or (work.finished and not _is_all(done, total)):
            work = self._work[task] = _Work(now, done, total, done)
            self._tasks[task] = self._bars.add_task(task, total=total, figures=figures)
        elif work.finished:
            return
        work.done, work.total, work.figures = done, total, figures
        self._bars.update(self._tasks[task], completed=done, total=total, figures=figures)
        if work.finished:
            self._bars.remove_task(self._tasks[task])
            if work.is_worth_a_line(now):
                self.say(f"✓ {task}: {work.words(now)}")


class Warnings:
    """Warnings on standard error, or above the bars of a ``console`` that is the same terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, message: str) -> None:
        """Nothing."""

    note = say

    def warn(self, message: str) -> None:
        """Print it."""
        self._console.print(f"warning: {message}", markup=False)

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None:
        """Nothing."""


@contextmanager
def shown(*, results_only: bool = False) -> Iterator[None]:
    """Show a person what is told inside: bars on a terminal, plain lines on standard output anywhere else.

    Warnings go to standard error. Of a command whose result is for a machine (``results_only``) nothing but that result
    is on standard output: bars are drawn on standard error, if that is a terminal, and lines are left out.
    """
    console, errors = (
        Console(file=cast(TextIO, _Undisturbed(stream)), highlight=False, soft_wrap=True)
        for stream in (sys.stderr if results_only else sys.stdout, sys.stderr)
    )
    with ExitStack() as open_until_the_end:
        draws = console.is_terminal and not console.is_dumb_terminal
        if draws:
            open_until_the_end.enter_context(Bars(console).listening())
        elif not results_only:
            open_until_the_end.enter_context(Lines(partial(_print_at_once, console)).listening())
        warnings = Warnings(console if draws and errors.is_terminal else errors)
        open_until_the_end.enter_context(tell.listening(warnings))
        yield


def _print_at_once(console: Console, line: str) -> None:
    console.print(line, markup=False)
    console.file.flush()


def _is_all(done: float, total: float | None) -> bool:
    return total is not None and done >= total


def _patience(work: _Work, now: float) -> float:
    """Seconds that may pass without a word."""
    return SILENCE - _LOOK if now - work.began < _EARLY else SILENCE_LATER


class _Share(ProgressColumn):
    """How much is done, in per cent; nothing where that is not known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.percentage:3.0f}%")


class _Figures(ProgressColumn):
    """The figures of the work, cut off where the line is too short for them: they and the bar give way first."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["figures"], no_wrap=True, overflow="ellipsis")


class _TimeLeft(ProgressColumn):
    """The time left, in words."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text("")
        return Text(f"{duration(task.time_remaining)} left")


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
