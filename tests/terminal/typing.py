"""Commands typed at a terminal of their own, which is a pseudo-terminal, or written into files as into a pipe.

A process that has loaded what takes long forks for each of them. What a person would see is read as it comes, and
Ctrl-C is typed, not sent: the terminal makes the signal of it, for the whole group of processes.
"""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from select import select

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["dynaflex.cli.app", "dynaflex.report.reported", "dynaflex.prepare.before_training",
     "dynaflex.pipeline", "dynaflex.judge.scoring", "dynaflex.judge.validation",
     "dynaflex.simulation.particles",
     "dynaflex.products.handover.export", "dynaflex.report.analysis", "dynaflex.viewer.serve"]
)  # fmt: skip

PATIENCE = 120.0
COLUMNS, ROWS = 100, 40
CTRL_C = b"\x03"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HIDDEN, _SHOWN = "\x1b[?25l", "\x1b[?25h"
_SHORT_REPORT = "<!doctype html><title>a report</title>"


def _type_command(arguments: list[str], streams: tuple[str, str, str], term: str, short_report: bool) -> None:
    """In a process of its own: a session whose terminal is the first one that it opens."""
    os.setsid()
    for number, path in enumerate(streams):
        flags = os.O_RDWR if path == streams[0] else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(path, flags), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
    os.environ.update(TERM=term, OMP_NUM_THREADS="1")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        os.environ.pop(name, None)
    if short_report:
        _shorten_reports()
    sys.argv = ["dynaflex", *arguments]
    from dynaflex.cli.main import main

    main()


def _shorten_reports() -> None:
    """A report takes longer than all else here, and is looked at elsewhere."""
    from dynaflex.report import html, reported

    def write(run: Path, ending: object = None) -> Path:
        (run / "report.html").write_text(_SHORT_REPORT)
        return run / "report.html"

    reported.write_report = html.write_report = write


@dataclass
class Shown:
    """What was to be seen, with all escape codes, and how it ended."""

    raw: str
    code: int
    seconds: float

    @property
    def text(self) -> str:
        """The same without escape codes, all that was drawn over and over included."""
        return _ESCAPE.sub("", self.raw).replace("\r", "\n")

    @property
    def cursor_is_shown(self) -> bool:
        """True unless the last that was said of the cursor hides it."""
        return self.raw.rfind(_SHOWN) >= self.raw.rfind(_HIDDEN)


@dataclass
class Terminal:
    """A command at work at a terminal; ``pieces`` are what it showed, each with the seconds since it began."""

    arguments: tuple[object, ...]
    term: str = "xterm-256color"
    short_report: bool = True
    pieces: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        name = os.ttyname(slave)
        typed = [str(part) for part in self.arguments]
        self._process = CONTEXT.Process(target=_type_command, args=(typed, (name,) * 3, self.term, self.short_report))
        self._began = time.monotonic()
        self._process.start()
        # It stays open here until the command has opened it, or the end would seem to have come.
        self._slave: int | None = slave

    @property
    def raw(self) -> str:
        """All that was shown so far."""
        return "".join(piece for _, piece in self.pieces)

    def wait_for(self, *words: str) -> None:
        """Read until all of these words were shown, or the command ended."""
        self._read(lambda: all(word in _ESCAPE.sub("", self.raw) for word in words))

    def interrupt(self) -> None:
        """Type Ctrl-C."""
        os.write(self._master, CTRL_C)

    def end(self, within: float = PATIENCE) -> Shown:
        """Read to the end, which must come within so many seconds."""
        self._read(lambda: False, within)
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, f"the command hangs:\n{self.raw[-2000:]}"
        os.close(self._master)
        return Shown(self.raw, self._process.exitcode, time.monotonic() - self._began)

    def _read(self, enough: Callable[[], bool], within: float = PATIENCE) -> None:
        deadline = time.monotonic() + within
        while not enough():
            assert time.monotonic() < deadline, f"the command hangs:\n{self.raw[-2000:]}"
            ready, _, _ = select([self._master], [], [], 0.2)
            if not ready:
                if self._process.exitcode is not None:
                    self._let_go()
                    return
                continue
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return
            if not piece:
                return
            self.pieces.append((time.monotonic() - self._began, piece.decode(errors="replace")))

    def _let_go(self) -> None:
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None


def at_a_terminal(*arguments: object, term: str = "xterm-256color") -> Shown:
    """Type a command and watch it to its end."""
    return Terminal(arguments, term).end()


def into_files(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that is at no terminal."""
    out, err = folder / "out", folder / "err"
    typed = [str(part) for part in arguments]
    process = CONTEXT.Process(target=_type_command, args=(typed, ("/dev/null", str(out), str(err)), "xterm", True))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode is not None, "the command hangs"
    return process.exitcode, out.read_text(), err.read_text()
