"""RELION STAR files, read and written without changing a value.

starfile finds the blocks of a file; the values are cut here, because starfile alone is not exact even when every
column is parsed as a string: it turns ' into ", cuts a value at #, makes one missing value of nan, NaN and <NA>, gives
an empty block the table of the next one, and drops a second table in a block. It also stamps the time into what it
writes, so equal tables would give different files.
"""

from __future__ import annotations

import linecache
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from starfile.parser import StarParser

from dynaflex.errors import InputError
from dynaflex.io.durable import write_text

_BLANK = " \t\r\n\f\v"
_TOKEN = re.compile(
    r'"(?P<double>(?:[^"]|"(?![ \t\r\n\f\v]|$))*)"(?=[ \t\r\n\f\v]|$)'
    r"|'(?P<single>(?:[^']|'(?![ \t\r\n\f\v]|$))*)'(?=[ \t\r\n\f\v]|$)"
    r"|(?P<comment>#.*)"
    r"|(?P<bare>[^ \t\r\n\f\v]+)"
)
_NEEDS_CARE = re.compile(r"[ \x00-\x09\x0b-\x1f\x7f]|^$|^(?:[_#'\"]|data_|loop_)", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass
class StarFile:
    """The tables of a STAR file in file order, every value a string exactly as written.

    ``lists`` names the blocks that are simple lists (``_name value``) rather than loops; each is a table of one row.
    """

    path: Path
    blocks: dict[str, pd.DataFrame]
    lists: frozenset[str] = frozenset()


def read_star(path: Path | str) -> StarFile:
    """Read every block of a STAR file.

    Raises:
        InputError: the file is missing, is not text, holds no block, or a row does not fit its labels.
    """
    path = Path(path)
    _check_text(path)
    try:
        parser = _ExactParser(path)
    finally:
        # starfile reads through linecache and does not clear it after an error: a corrected file would look unchanged.
        linecache.cache.pop(str(path), None)
    if not parser.data_blocks:
        raise InputError(
            "star.no-block", "this is not a STAR file", file=path, expected="a line that starts with data_"
        )
    return StarFile(path, parser.data_blocks, frozenset(parser.lists))


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


def _check_text(path: Path) -> None:
    if not path.is_file():
        problem = "this is a folder, not a STAR file" if path.is_dir() else "no such file"
        raise InputError("star.missing", problem, file=path, fix="give the path of a particle STAR file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("star.not-text", "this is not a text file in UTF-8", file=path) from error
    except OSError as error:
        raise InputError("star.unreadable", error.strerror or "cannot read this file", file=path) from error
    if "\0" in text:
        raise InputError("star.not-text", "this is a binary file, not a STAR file", file=path)


class _ExactParser(StarParser):  # type: ignore[misc]
    """starfile's walk over the file, with blocks cut exactly."""

    def __init__(self, path: Path) -> None:
        self.lists: set[str] = set()
        super().__init__(path)

    def _parse_data_block(self) -> tuple[str, pd.DataFrame]:
        """Cut the block whose ``data_`` line is the current one, and stop at the line after it."""
        lines = [line.strip(_BLANK) for line in self._lines_of_block()]
        name = self.current_line.split()[0][len("data_") :]
        if name in self.data_blocks:
            raise self._error(0, "star.repeated-block", f"there are two blocks data_{name}")
        first = next((i for i, line in enumerate(lines) if line and not line.startswith("#")), len(lines))
        if first < len(lines) and lines[first].split()[0] == "loop_":
            table = self._loop(lines, first + 1)
        else:
            self.lists.add(name)
            table = self._list(lines, first)
        self.current_line_number += len(lines) + 1
        return name, table

    def _lines_of_block(self) -> list[str]:
        """The lines after the current one, up to the next block."""
        following: list[str] = linecache.getlines(str(self.filename))[self.current_line_number :]
        starts = (i for i, line in enumerate(following) if _starts_block(line))
        return following[: next(starts, len(following))]

    def _loop(self, lines: list[str], start: int) -> pd.DataFrame:
        labels: list[str] = []
        for i in range(start, len(lines)):
            if lines[i] and not lines[i].startswith("#"):
                tokens = lines[i].split()
                # A row may start with an underscore too; it has as many values as there are labels.
                if not lines[i].startswith("_") or (len(tokens) > 1 and not tokens[1].startswith(("#", "["))):
                    break
                labels.append(tokens[0][1:])
            start = i + 1
        self._check_labels(labels, start)
        rows: list[list[str]] = []
        for i in range(start, len(lines)):
            values = _tokens(lines[i])
            if not values:
                continue
            if len(values) != len(labels):
                raise self._error(
                    i + 1,
                    "star.row-length",
                    "this row does not fit its labels; the file may be cut, or a block holds two tables",
                    row=len(rows),
                    expected=f"{len(labels)} values",
                    found=f"{len(values)}: {lines[i][:80]}",
                )
            rows.append(values)
        cells = np.empty((len(rows), len(labels)), dtype=object)
        if rows:
            cells[:] = rows
        return pd.DataFrame(cells, columns=labels, dtype=object)

    def _list(self, lines: list[str], start: int) -> pd.DataFrame:
        values: dict[str, list[str]] = {}
        for i in range(start, len(lines)):
            tokens = _tokens(lines[i])
            if not tokens:
                continue
            if len(tokens) != 2 or not tokens[0].startswith("_"):
                raise self._error(
                    i + 1,
                    "star.list-item",
                    "this line is not an item of a list",
                    expected="_name value",
                    found=lines[i][:80],
                )
            if tokens[0][1:] in values:
                raise self._error(i + 1, "star.repeated-label", f"the label {tokens[0]} is given twice")
            values[tokens[0][1:]] = [tokens[1]]
        return pd.DataFrame(values, dtype=object)

    def _check_labels(self, labels: list[str], line: int) -> None:
        if not labels:
            raise self._error(line, "star.no-labels", "this loop has no labels", expected="_rln… lines after loop_")
        repeated = next((label for label in labels if labels.count(label) > 1), None)
        if repeated is not None:
            raise self._error(line, "star.repeated-label", f"the label _{repeated} is given twice in one loop")

    def _error(self, offset: int, identifier: str, problem: str, **details: object) -> InputError:
        where = f"line {self.current_line_number + offset}: {problem}"
        return InputError(identifier, where, file=self.filename, **details)  # type: ignore[arg-type]


def _starts_block(line: str) -> bool:
    """True for a ``data_`` line; a row may begin with a value that starts with ``data_`` but has more values."""
    return line.lstrip(_BLANK).startswith("data_") and len(_tokens(line)) == 1


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
    )


def _closes_early(value: str, quote: str) -> bool:
    return any(f"{quote}{blank}" in value for blank in _BLANK)
