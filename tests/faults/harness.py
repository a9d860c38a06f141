"""What a row of the list of faults is made of: how to bring it about, the exact command, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynaflex.io.star import read_star, write_star
from dynaflex.prepare.simulated import Simulated

Command = Callable[..., Any]


@dataclass(frozen=True)
class Toy(Simulated):
    """A copy of a small simulated data set, to be spoiled, and where a run on it would go."""

    @property
    def stack(self) -> Path:
        """The images."""
        return self.folder / "particles.mrcs"

    @property
    def run(self) -> Path:
        """A run directory that does not exist yet."""
        return self.folder / "run"

    def check(self, *options: object) -> list[object]:
        """``dynaflex check`` on the whole data set."""
        return ["check", self.particles, "--map", self.map, "--mask", self.mask, *options]

    def train(self, *options: object) -> list[object]:
        """``dynaflex dynamight`` on the whole data set, as brief as it can be."""
        files = [self.particles, "--map", self.map, "--mask", self.mask, "-o", self.run]
        return ["dynamight", *files, "--epochs", 2, "--gaussians", 40, "--batch-size", 8, "--until", "train", *options]

    def change(self, change: Callable[[Any], Any], block: str = "particles") -> None:
        """Replace a table of the STAR file by what ``change`` makes of it."""
        star = read_star(self.particles)
        star.blocks[block] = change(star.blocks[block])
        write_star(star, self.particles)

    def edit(self, change: Callable[[str], str]) -> None:
        """Replace the text of the STAR file by what ``change`` makes of it."""
        self.particles.write_text(change(self.particles.read_text()))


@dataclass(frozen=True)
class Fault:
    """One row: ``given`` says in words what is wrong, and ``command`` brings it about and returns what is then typed.

    The command must leave with ``code``, and what it prints must hold every one of ``says``: for an error the file, the
    column or field, and the fix.
    """

    row: str
    given: str
    command: Callable[[Toy], Sequence[object]]
    code: int
    says: tuple[str, str, str]


def prove(fault: Fault, toy: Toy, command: Command) -> None:
    """Bring the fault about, type the command, and see that it ends as it must.

    A mistake in the input leaves no run behind, is one line on stderr, and never shows a traceback.
    """
    typed = fault.command(toy)
    there = toy.run.exists()
    outcome = command(*typed)
    said = outcome.out + outcome.err
    assert "Traceback" not in said, said
    assert outcome.code == fault.code, said
    for words in fault.says:
        assert words in said, f"{words!r} is not in:\n{said}"
    if fault.code in (2, 3):
        assert toy.run.exists() == there
