"""Errors that tell a person what to do: where, what was expected, what was found, and the fix.

Every error that a user can cause is a :class:`DynaflexError`. The command line prints its text without a traceback and
leaves with its exit code; ``--debug`` shows the traceback too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


class DynaflexError(Exception):
    """An error with an address and a remedy.

    ``identifier`` is a short stable name (``star.missing-column``) that scripts and the documentation can rely on;
    ``field`` names a column of a table, or of a usage error the option.
    """

    exit_code = 1
    field_is = "column"

    def __init__(
        self,
        identifier: str,
        problem: str,
        *,
        file: Path | str | None = None,
        field: str | None = None,
        row: int | None = None,
        expected: object = None,
        found: object = None,
        fix: str | None = None,
    ) -> None:
        self.identifier = identifier
        self.problem = problem
        self.file = file
        self.field = field
        self.row = row
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(self.render())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled it is what it is, whatever it is made with."""
        return type(self).__new__, (type(self),), vars(self) | {"args": self.args}

    def but(self, **changes: object) -> Self:
        """The same error with other attributes, such as the ``file`` where it was not known before."""
        other = type(self).__new__(type(self))
        vars(other).update(vars(self) | changes)
        other.args = (other.render(),)
        return other

    def render(self) -> str:
        """The whole message on one line: place, problem, expected, found, fix, identifier."""
        place = ", ".join(
            part
            for part in (
                str(self.file) if self.file is not None else "",
                f"{self.field_is} {self.field}" if self.field is not None else "",
                f"row {self.row}" if self.row is not None else "",
            )
            if part
        )
        text = f"{place}: {self.problem}" if place else self.problem
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.found is not None:
            text += f"; found {self.found}"
        if self.fix is not None:
            text += f". Fix: {self.fix}"
        return f"{text} [{self.identifier}]"


@dataclass(frozen=True)
class Words:
    """What things are called in the file of a user whose program is not RELION.

    ``names`` has its name for each of ours; ``remedies`` what to do there, by the identifier of an error, in place of
    our fix or, where it begins with a semicolon, after it; ``first`` what it counts from where our column does from 1.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    remedies: Mapping[str, str] = field(default_factory=dict)
    first: Mapping[str, int] = field(default_factory=dict)

    def said(self, text: str) -> str:
        """A text with the user's names."""
        return re.sub(r"\brln\w+", lambda match: self.names.get(match[0], match[0]), text)

    def counted(self, column: str, number: int) -> int:
        """A number that counts from 1 in our column, as the user's counts."""
        return number - 1 + self.first.get(column, 1)

    def error(self, error: InputError) -> InputError:
        """An error with the user's names and remedies; one that has them already stays as it is."""
        remedy = self.remedies.get(error.identifier)
        if remedy is not None:
            ours = (error.fix or "").removesuffix(remedy)
            error = error.but(fix=ours + remedy if remedy.startswith(";") else remedy)
        texts = {name: getattr(error, name) for name in ("problem", "field", "expected", "found", "fix")}
        return error.but(**{name: self.said(text) for name, text in texts.items() if isinstance(text, str)})

    @contextmanager
    def spoken(self) -> Iterator[None]:
        """An error that is raised inside is raised with the user's names and remedies."""
        try:
            yield
        except InputError as error:
            raise self.error(error) from error


class UsageError(DynaflexError):
    """A command that cannot mean anything: contradictory or impossible options."""

    exit_code = 2
    field_is = "option"


class InputError(DynaflexError):
    """An input file that is missing, damaged, or does not fit the others."""

    exit_code = 3


class OtherVersionError(InputError):
    """A file of a run in which another version of the program wrote what this one does not know, or left out something.

    ``field`` names the entry of the file.
    """

    field_is = "entry"


class EnvironmentFault(DynaflexError):
    """The machine cannot do it: an output that cannot be written, a missing device or library."""

    exit_code = 4


class ResourceError(DynaflexError):
    """Too little memory, disk or time."""

    exit_code = 5


class RunBusyError(DynaflexError):
    """The run directory belongs to another process, or already holds a run."""

    exit_code = 6


class NumericalError(DynaflexError):
    """A computation left the finite numbers."""

    exit_code = 7


class DamagedCheckpointError(DynaflexError):
    """A checkpoint whose contents do not match its manifest or the data."""

    exit_code = 8


class StoppedOnRequest(BaseException):
    """The program was asked to stop. What it had begun is saved, or not there; ``fix`` says how to go on, if it can.

    It is no :class:`Exception`: what goes on after an error, here or in a library, must not go on after this.
    """

    exit_code = 75

    def __init__(self, identifier: str, problem: str, *, fix: str | None = None) -> None:
        self.identifier = identifier
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem if fix is None else f'{problem}; {fix}'} [{identifier}]")
