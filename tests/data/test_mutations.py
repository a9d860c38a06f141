"""Damaged STAR files: an error, or the table that is really written there; never anything else."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from dynaflex.data.particles import read_particles
from dynaflex.errors import DynaflexError
from dynaflex.io.star import read_star

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]
Tables = dict[str, list[list[str]]]


WORDS = ("nan", "inf", "1e999", "-1", "0", "<NA>", "0x10", "1_000", "1,5", "word", "_x", "loop_", "data_x")


def plainly(text: str) -> tuple[Tables, int]:
    """The loops of a STAR file without quotes, for each block its labels, then its rows; and how many lines come first.

    A value or a comment begins after a blank; a block begins where data_ stands alone.
    """
    tables: Tables = {}
    before = 0
    name: str | None = None
    for line in text.split("\n"):
        fields = list(takewhile(lambda field: not field.startswith("#"), line.split()))
        if not fields or fields == ["loop_"]:
            before += bool(fields) and name is None
        elif fields[0].startswith("data_") and len(fields) == 1:
            name = fields[0].removeprefix("data_")
            tables[name] = [[]]
        elif name is None:
            before += 1
        elif fields[0].startswith("_") and len(tables[name]) == 1:
            tables[name][0].append(fields[0][1:])
        else:
            tables[name].append(fields)
    return tables, before


def mutated(text: str, random: random.Random) -> str:
    """One to three fields, columns or lines deleted, doubled, moved or exchanged, or the end cut off."""
    for _ in range(random.randint(1, 3)):
        lines = text.split("\n")
        i, j = random.randrange(len(lines)), random.randrange(len(lines))
        fields = lines[i].split()
        kind = random.choice(("delete", "double", "exchange", "move", "field", "field", "column", "cut", "character"))
        if kind == "delete":
            del lines[i]
        elif kind == "double":
            lines.insert(j, lines[i])
        elif kind == "exchange":
            lines[i], lines[j] = lines[j], lines[i]
        elif kind == "move":
            lines.insert(j, lines.pop(i))
        elif kind == "field" and fields:
            lines[i] = " ".join(_changed_fields(fields, random))
        elif kind == "column":
            lines = _changed_column(lines, random)
        elif kind == "cut":
            return text[: random.randrange(len(text))]
        elif kind == "character" and lines[i]:
            where = random.randrange(len(lines[i]))
            lines[i] = lines[i][:where] + random.choice("0189._-+eE@xX#\t ") + lines[i][where + 1 :]
        text = "\n".join(lines)
    return text


def _changed_fields(fields: list[str], random: random.Random) -> list[str]:
    i, j = random.randrange(len(fields)), random.randrange(len(fields))
    kind = random.choice(("delete", "double", "exchange", "word"))
    if kind == "delete":
        del fields[i]
    elif kind == "double":
        fields.insert(j, fields[i])
    elif kind == "exchange":
        fields[i], fields[j] = fields[j], fields[i]
    else:
        fields[i] = random.choice(
            ("nan", "inf", "1e999", "-1", "0", "<NA>", "0x10", "1_000", "1,5", "word", "_x", "loop_")
        )
    return fields


def _changed_column(lines: list[str], random: random.Random) -> list[str]:
    """Delete or exchange a field in every row of the last table, and now and then its label too."""
    rows = [k for k, line in enumerate(lines) if "@" in line]
    labels = [k for k, line in enumerate(lines) if line.startswith("_")]
    if not rows or not labels:
        return lines
    n = min(len(lines[k].split()) for k in rows)
    i, j = random.randrange(n), random.randrange(n)
    delete = random.random() < 0.5
    for k in rows:
        fields = lines[k].split()
        if delete:
            del fields[i]
        else:
            fields[i], fields[j] = fields[j], fields[i]
        lines[k] = " ".join(fields)
    if delete and random.random() < 0.5:
        del lines[random.choice(labels)]
    return lines


T = TypeVar("T")


def unless_refused(read: Callable[[Path], T], path: Path) -> T | None:
    """What ``read`` makes of a file, or None where it is refused by name; any other error passes."""
    refusal = None
    try:
        return read(path)
    except DynaflexError as error:
        refusal = str(error)
    assert str(path) in refusal
    return None


def survives(path: Path, text: str) -> None:
    path.write_text(text)
    star = unless_refused(read_star, path)
    if star is None:
        return
    expected, before = plainly(text)
    assert any("belongs to no block" in notice for notice in star.notices) == bool(before)
    assert list(star.blocks) == list(expected)
    for name, table in star.blocks.items():
        if name not in star.lists:
            ours = [list(table.columns), *table.to_numpy(dtype=object).tolist()]
            assert ours == expected[name]
    particles = unless_refused(read_particles, path)
    if particles is None:
        return
    labels, *rows = expected[particles.particles_block]
    assert len(particles) + len(particles.excluded) == len(rows)
    own = dict(zip(labels, zip(*rows, strict=True), strict=True))
    for axis, name in enumerate(("rlnOriginXAngst", "rlnOriginYAngst")):
        values = np.array([float(own[name][row]) for row in particles.rows])
        np.testing.assert_array_equal(particles.pose.shift[:, axis].numpy(), -values)
    numbers = np.array([int(float(own["rlnImageName"][row].split("@")[0])) for row in particles.rows])
    np.testing.assert_array_equal(particles.files.index, numbers - 1)
    if "rlnRandomSubset" in own:
        np.testing.assert_array_equal(
            particles.half, [int(float(own["rlnRandomSubset"][row])) for row in particles.rows]
        )


def sweep(path: Path, seeds: range) -> None:
    original = path.read_text()
    for seed in seeds:
        text = mutated(original, random.Random(seed))
        try:
            survives(path, text)
        except Exception as error:
            raise AssertionError(f"seed {seed}:\n{text}") from error


def test_two_hundred_damaged_files(blocks: Blocks, save: Save) -> None:
    path = save(blocks)
    survives(path, path.read_text())
    sweep(path, range(200))


@pytest.mark.slow
def test_two_thousand_damaged_files(blocks: Blocks, save: Save) -> None:
    sweep(save(blocks), range(200, 2200))
