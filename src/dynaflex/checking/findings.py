"""What a check of the input files found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynaflex.errors import InputError, Words

if TYPE_CHECKING:
    # Two maps are compared without what particles need.
    from dynaflex.data.particles import Particles


@dataclass
class Report:
    """What a check found: ``problems`` forbid a run, ``warnings`` deserve a look, ``facts`` describe the data.

    ``particles`` are those that were read, None where they cannot be: a table of a million rows is parsed once.
    """

    problems: list[InputError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    particles: Particles | None = None

    @property
    def ok(self) -> bool:
        """True where nothing forbids a run."""
        return not self.problems

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note a problem that is raised inside, and go on after it."""
        try:
            yield
        except InputError as error:
            self.problems.append(error)

    def raise_first(self) -> None:
        """Raise the first problem, if there is one."""
        for problem in self.problems:
            raise problem

    def speak(self, words: Words) -> None:
        """Say everything in the words of the user's own program."""
        self.problems = list(map(words.error, self.problems))
        self.warnings = list(map(words.said, self.warnings))

    def add(self, other: Report) -> None:
        """Take over what another check found."""
        self.problems += other.problems
        self.warnings += other.warnings
        self.facts |= other.facts

    def as_dict(self) -> dict[str, object]:
        """The report as plain values for JSON."""
        return {
            "ok": self.ok,
            "problems": [
                {
                    "identifier": error.identifier,
                    "message": error.problem,
                    "file": None if error.file is None else str(error.file),
                    "field": error.field,
                    "row": error.row,
                    "expected": None if error.expected is None else str(error.expected),
                    "found": None if error.found is None else str(error.found),
                    "fix": error.fix,
                }
                for error in self.problems
            ],
            "warnings": self.warnings,
            "facts": self.facts,
        }
