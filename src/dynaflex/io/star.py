"""RELION STAR files, read and written without changing a value.

Nothing is taken from starfile, which is not exact even when every column is parsed as a string: it turns ' into ", cuts
a value at #, makes one missing value of nan, NaN and <NA>, gives an empty block the table of the next one, drops a
second table in a block, and stamps the time into what it writes, so that equal tables give different files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynaflex.errors import InputError, Words
from dynaflex.io.durable import write_text
from dynaflex.io.magic import HEAD_SIZE, describe
from dynaflex.io.star_text import read_text

_BLANK = " \t\r\n\f\v"
_TOKEN = re.compile(
    r'"(?P<double>(?:[^"]|"(?![ \t\r\n\f\v]|$))*)"(?=[ \t\r\n\f\v]|$)'
    r"|'(?P<single>(?:[^']|'(?![ \t\r\n\f\v]|$))*)'(?=[ \t\r\n\f\v]|$)"
    r"|(?P<comment>#.*)"
    r"|(?P<bare>[^ \t\r\n\f\v]+)"
)
_NEEDS_CARE = re.compile(r"[ \x00-\x09\x0b-\x1f\x7f]|^$|^(?:[_#'\"]|data_|loop_)", re.MULTILINE)
_LABEL_NUMBER = re.compile(r"#(\d+)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass
class StarFile:
    """The tables of a STAR file in file order, every value a string exactly as written.

    ``lists`` names the blocks that are simple lists (``_name value``) rather than loops; each is a table of one row.
    ``notices`` say what about the file is unusual, though it could be read; ``words`` are those of its user. A table
    that was made from one of stacks has ``whole_stacks``: a row for every image of each.
    """

    path: Path
    blocks: dict[str, pd.DataFrame]
    lists: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()
    words: Words = field(default_factory=Words)
    whole_stacks: bool = False


def read_star(path: Path | str) -> StarFile:
    """Read every block of a STAR file.

    Raises:
        InputError: the file is missing, is not text, holds no block, or a row does not fit its labels.
    """
    path = Path(path)
    notices: list[str] = []
    lines = [line.strip(_BLANK) for line in read_text(path, notices).split("\n")]
    starts = [i for i, line in enumerate(lines) if line.startswith("data_") and len(_tokens(line)) == 1]
    blocks: dict[str, pd.DataFrame] = {}
    lists: set[str] = set()
    if starts:
        _Block(path, lines, 0, starts[0], notices).require_nothing()
    for start, end in pairwise([*starts, len(lines)]):
        name = _tokens(lines[start])[0].removeprefix("data_")
        block = _Block(path, lines, start + 1, end, notices)
        if name in blocks:
            raise block.error(
                start,
                "star.repeated-block",
                f"there are two blocks data_{name}",
                fix="rename or remove one of them",
            )
        blocks[name], is_list = block.table()
        if is_list:
            lists.add(name)
    if not blocks:
        raise InputError(
            "star.no-block",
            "this is not a STAR file",
            file=path,
            expected="a line that starts with data_",
            found=describe("\n".join(lines[:40]).encode()[:HEAD_SIZE]),
            fix="give the particle STAR file of a 3D refinement (run_data.star)",
        )
    return StarFile(path, blocks, frozenset(lists), tuple(notices))


def write_star(star: StarFile, path: Path | str) -> None:
    """Write the blocks of ``star`` to ``path``; equal tables give equal bytes. ``star.path`` is not used.

    Raises:
        InputError: a value holds a line break or a control character, which STAR cannot express.
        EnvironmentFault: the file cannot be written.
    """
    lines: list[str] = []
    for name, table in star.blocks.items():
        columns = [_column(table[label], Path(path)) for label in table.columns]
        lines += ["", f"data_{name}", ""]
        if name in star.lists:
            lines += [f"_{label}\t{values[0]}" for label, values in zip(table.columns, columns, strict=True)]
        else:
            lines += ["loop_", *(f"_{label} #{i}" for i, label in enumerate(table.columns, 1))]
            lines += ["\t".join(row) for row in zip(*columns, strict=True)]
        lines.append("")
    write_text(path, "\n".join(lines) + "\n")


class _Block:
    """The lines of one block, from ``start`` up to ``end``; lines are counted from 0."""

    def __init__(self, path: Path, lines: list[str], start: int, end: int, notices: list[str]) -> None:
        self._path, self._lines, self._start, self._end, self._notices = path, lines, start, end, notices

    def table(self) -> tuple[pd.DataFrame, bool]:
        """The table, and whether it is a simple list."""
        content = (i for i in range(self._start, self._end) if self._lines[i] and not self._lines[i].startswith("#"))
        first = next(content, self._end)
        if first < self._end and self._lines[first].split()[0] == "loop_":
            if len(_tokens(self._lines[first])) > 1:
                raise self.error(
                    first,
                    "star.loop-line",
                    "loop_ stands alone on its line",
                    found=self._lines[first][:80],
                    fix="begin a new line after loop_",
                )
            return self._loop(first + 1), False
        return self._list(first), True

    def require_nothing(self) -> None:
        """Values before the first block belong to no table: an image there would be lost, the rest is mentioned."""
        stray = [i for i in range(self._start, self._end) if _tokens(self._lines[i])]
        for i in stray:
            if "@" in self._lines[i]:
                raise self.error(
                    i,
                    "star.outside-block",
                    "this image belongs to no block",
                    expected="data_ first",
                    found=self._lines[i][:80],
                    fix="move the line into its table, or remove it",
                )
        if stray:
            self._notices.append(f"{self._path}: line {stray[0] + 1} belongs to no block and is left out")

    def _loop(self, start: int) -> pd.DataFrame:
        labels, rows_start = self._labels(start)
        rows: list[list[str]] = []
        for i in range(rows_start, self._end):
            values = _tokens(self._lines[i])
            if not values:
                continue
            if len(values) != len(labels):
                raise self._misfit(i, values, labels, len(rows))
            rows.append(values)
        cells = np.empty((len(rows), len(labels)), dtype=object)
        if rows:
            cells[:] = rows
        return pd.DataFrame(cells, columns=labels, dtype=object)

    def _labels(self, start: int) -> tuple[list[str], int]:
        """The labels of a loop, and the line after the last of them."""
        labels: list[str] = []
        where: dict[str, int] = {}
        after = start
        misnumbered = 0
        for i in range(start, self._end):
            line = self._lines[i]
            if line and not line.startswith("#"):
                tokens = line.split()
                # A row may start with an underscore too; it has as many values as there are labels.
                if not line.startswith("_") or (len(tokens) > 1 and not tokens[1].startswith(("#", "["))):
                    break
                label = tokens[0][1:]
                if label in where:
                    lines = f"lines {where[label] + 1} and {i + 1}"
                    raise self.error(
                        i,
                        "star.repeated-label",
                        f"the label _{label} is given twice in one loop",
                        found=lines,
                        fix="remove or rename one of the two columns",
                    )
                where[label] = i
                labels.append(label)
                number = _LABEL_NUMBER.fullmatch(tokens[1]) if len(tokens) > 1 else None
                misnumbered += number is not None and int(number[1]) != len(labels)
            after = i + 1
        if not labels:
            raise self.error(
                start - 1,
                "star.no-labels",
                "this loop has no labels",
                expected="_rln… lines after loop_",
                fix="put the lines back that name the columns, or copy the file again",
            )
        if misnumbered:
            self._notices.append(
                f"{self._path}: {misnumbered} labels carry another number than their place, which is what counts"
            )
        return labels, after

    def _misfit(self, i: int, values: list[str], labels: list[str], row: int) -> InputError:
        last = not any(self._lines[i + 1 : self._end]) and self._end == len(self._lines)
        short = last and len(values) < len(labels)
        return self.error(
            i,
            "star.row-length",
            "the last row stops too soon; the file seems to be cut"
            if short
            else "this row does not fit its labels; a field is missing or too many, or a block holds two tables",
            row=row,
            expected=f"{len(labels)} values, _{labels[0]} to _{labels[-1]}",
            found=f"{len(values)}: {self._lines[i][:80]}",
            fix="copy the file again" if short else f"correct line {i + 1}; quote values that hold blanks",
        )

    def _list(self, start: int) -> pd.DataFrame:
        values: dict[str, list[str]] = {}
        for i in range(start, self._end):
            tokens = _tokens(self._lines[i])
            if not tokens:
                continue
            if len(tokens) != 2 or not tokens[0].startswith("_"):
                raise self.error(
                    i,
                    "star.list-item",
                    "this line is not an item of a list",
                    expected="_name value",
                    found=self._lines[i][:80],
                    fix=f"correct line {i + 1}; quote values that hold blanks",
                )
            if tokens[0][1:] in values:
                raise self.error(
                    i, "star.repeated-label", f"the label {tokens[0]} is given twice", fix="remove one of the two lines"
                )
            values[tokens[0][1:]] = [tokens[1]]
        return pd.DataFrame(values, dtype=object)

    def error(self, i: int, identifier: str, problem: str, **details: object) -> InputError:
        """An error about line ``i``."""
        return InputError(identifier, f"line {i + 1}: {problem}", file=self._path, **details)  # type: ignore[arg-type]


def _tokens(line: str) -> list[str]:
    """The values of one line, unquoted, without comments."""
    if line.isascii() and not ("#" in line or '"' in line or "'" in line):
        return line.split()
    tokens = []
    for match in _TOKEN.finditer(line):
        if match.lastgroup == "comment":
            break
        tokens.append(match.group(match.lastgroup or 0))
    return tokens


def _column(series: pd.Series[Any], path: Path) -> list[str]:
    """The values of a column as STAR writes them; nearly all columns are plain, which one search over all tells."""
    values = [str(value) for value in series]
    joined = "\n".join(values)
    if not _NEEDS_CARE.search(joined) and joined.count("\n") == len(values) - 1:
        return values
    return [_quoted(value, str(series.name), path) for value in values]


def _quoted(value: str, label: str, path: Path) -> str:
    """The value as STAR writes it: in quotes where it is empty, holds a blank, or looks like syntax."""
    if not _CONTROL.search(value):
        if not _NEEDS_CARE.search(value):
            return value
        for quote in ('"', "'"):
            if not _closes_early(value, quote):
                return f"{quote}{value}{quote}"
    raise InputError(
        "star.unwritable-value",
        "this value cannot be written in a STAR file",
        file=path,
        field=label,
        expected="text on one line without control characters or mixed quotes",
        found=repr(value),
        fix="change this value in the input",
    )


def _closes_early(value: str, quote: str) -> bool:
    return any(f"{quote}{blank}" in value for blank in _BLANK)
