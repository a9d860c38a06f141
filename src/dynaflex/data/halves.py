"""The two halves of a data set, and the particles held out of training: functions of the seed, never of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dynaflex.data.columns import PARTICLE, TOMOGRAM
from dynaflex.errors import InputError
from dynaflex.shapes import BoolArray, IntArray

# The smaller half has at least this part of the particles.
_EVEN = 0.45


def assign_halves(table: pd.DataFrame, seed: int, warnings: list[str], file: Path | str | None = None) -> IntArray:
    """The half of every particle of a RELION particle table, 1 or 2, ``(p)``; ``warnings`` gains how they were drawn.

    ``rlnRandomSubset`` is used where the table has it. Otherwise halves are drawn with ``seed`` per micrograph, so that
    neighbours and duplicates stay together; per image where the table names no two micrographs, or one holds so many
    particles that the halves would be more unequal than 45 to 55. Of tilt series they are drawn per tomogram, or per
    particle. Neither the order of the rows nor the run changes the draw. ``file`` is named in errors.

    Raises:
        InputError: ``rlnRandomSubset`` holds anything but 1 and 2, or tears the images of a particle apart.
    """
    tilted = PARTICLE in table
    if "rlnRandomSubset" in table:
        halves = _halves_given(table["rlnRandomSubset"], file)
        if tilted:
            _require_whole(table[PARTICLE], halves, file)
        return halves
    warnings.append(f"no rlnRandomSubset: halves are drawn with seed {seed}, and share the poses of the consensus")
    columns = (TOMOGRAM, PARTICLE) if tilted else ("rlnMicrographName", "rlnImageName")
    micrograph, image = (_groups(table, name) for name in columns)
    if micrograph is None:
        return np.ones(len(table), dtype=np.int64) if image is None else _draw(*image, seed)
    halves = _draw(*micrograph, seed)
    if image is None or _even(halves):
        return halves
    codes, names = micrograph
    fullest, first = np.bincount(codes), int((halves == 1).sum())
    warnings.append(
        f"halves are drawn per image, and neighbours on a micrograph may be in both: {names[fullest.argmax()]} holds "
        f"{fullest.max()} of {len(table)} particles, and whole micrographs would make halves of {first} and "
        f"{len(table) - first}"
    )
    return _draw(*image, seed)


def too_few(
    half: IntArray, held_out: BoolArray, trained: Sequence[int], batch_size: int, file: Path | str
) -> InputError | None:
    """The error if one of the halves ``trained`` (0: all particles) has less than two batches to train on.

    ``half`` and ``held_out`` are ``(p)``.
    """
    for number in trained:
        left = int((((half == number) | (number == 0)) & ~held_out).sum())
        if left < 2 * batch_size:
            return InputError(
                "halves.too-few",
                f"{f'half {number} has' if number else 'there are'} too few particles to train on",
                file=file,
                expected=f"at least {2 * batch_size} besides those held out, two batches",
                found=left,
                fix="use more particles or a smaller --batch-size",
            )
    return None


def halves_digest(half: IntArray, rows: IntArray) -> str:
    """A fingerprint of which rows of the table are in which half, whatever order they are listed in."""
    order = np.argsort(rows, kind="stable")
    pairs = np.stack([rows[order], half[order]], axis=1).astype("<i8")
    return hashlib.sha256(pairs.tobytes()).hexdigest()


def held_out(rows: IntArray, half: IntArray, fraction: float, seed: int) -> BoolArray:
    """Which particles are held out of decoder training, ``(p)``: each with probability ``fraction``.

    Every particle draws for itself from (seed, half, row): nothing in one half changes the choice in the other.
    """
    seeded = _mix(_mix(np.asarray(seed, dtype=np.int64).astype(np.uint64)) ^ half.astype(np.uint64))
    uniform = (_mix(seeded ^ rows.astype(np.uint64)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    chosen: BoolArray = uniform < fraction
    return chosen


def _halves_given(column: pd.Series[str], file: Path | str | None) -> IntArray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isin(values, (1.0, 2.0)))
    if bad.size:
        raise InputError(
            "halves.value",
            "a half-set is 1 or 2",
            file=file,
            field="rlnRandomSubset",
            row=int(bad[0]),
            expected="1 or 2",
            found=f"{column.iloc[int(bad[0])]!r} ({bad.size} such rows)",
            fix="use the table of a 3D auto-refinement, or remove the column: halves that are drawn share poses",
        )
    halves: IntArray = values.astype(np.int64)
    return halves


def _require_whole(particle: pd.Series[str], halves: IntArray, file: Path | str | None) -> None:
    """Refuse a particle with images in both halves."""
    code = pd.factorize(particle)[0]
    first = np.unique(code, return_index=True)[1][code]
    torn = np.flatnonzero(halves != halves[first])
    if torn.size:
        row = int(torn[0])
        raise InputError(
            "halves.torn", "the images of one particle are in both half-sets",
            file=file, field="rlnRandomSubset", row=row, expected=int(halves[first[row]]), found=int(halves[row]),
            fix="give all images of a particle one half",
        )  # fmt: skip


def _groups(table: pd.DataFrame, column: str) -> tuple[IntArray, list[str]] | None:
    """The group of every particle by the names in a column, and these; None unless there are two."""
    if column not in table:
        return None
    codes, names = pd.factorize(table[column])
    return (codes.astype(np.int64), [str(name) for name in names]) if len(names) > 1 else None


def _draw(codes: IntArray, names: Sequence[str], seed: int) -> IntArray:
    """Deal whole groups, each to the half with fewer particles, in an order drawn from the seed; where a large one came
    so late that this is uneven, the largest first."""
    counts = np.bincount(codes, minlength=len(names))
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(f"{seed}:{names[i]}".encode()).digest())
    halves = _dealt(order, counts)[codes]
    return halves if _even(halves) else _dealt(sorted(order, key=lambda i: -counts[i]), counts)[codes]


def _dealt(order: Sequence[int], counts: IntArray) -> IntArray:
    """The half of each group, 1 or 2."""
    half_of_group = np.ones(len(counts), dtype=np.int64)
    filled = [0, 0]
    for group in order:
        smaller = int(filled[1] < filled[0])
        half_of_group[group] = smaller + 1
        filled[smaller] += int(counts[group])
    return half_of_group


def _even(halves: IntArray) -> bool:
    return min(int((halves == 1).sum()), int((halves == 2).sum())) >= _EVEN * len(halves)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every bit of the input changes half of the output's."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
