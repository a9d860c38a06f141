"""Which particles are chosen: of a cluster, a list, a range of latents, or inside an outline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from dynaflex.analyze.select import inside_box, inside_polygon
from dynaflex.errors import InputError, UsageError
from dynaflex.products.names import PARTICLES, Plane
from dynaflex.products.stored import analysed_particles, numbered
from dynaflex.results.settings import config_of
from dynaflex.run.directory import Run
from dynaflex.run.files import read_latents
from dynaflex.shapes import Array, IntArray

AXES = get_args(Plane)
Ranges = Mapping[int, tuple[float, float]]
"""The lowest and the highest value of latents, by axis, counted from 1."""
_OF_ONE_HALF = ("pca", "latent")


@dataclass(frozen=True)
class Outline:
    """A polygon with corners ``points`` ``(v 2)`` in a plane, two ``columns`` of ``axes``, of one ``half`` or both."""

    axes: str
    columns: tuple[int, int]
    half: int | None
    points: Array


def chosen_rows(
    run: Run,
    folder: Path,
    *,
    cluster: int | None,
    kind: str,
    outline: Outline | None,
    particles: IntArray | None,
    latents: Ranges | None,
    half: int | None,
) -> IntArray:
    """The rows of the input table that are chosen in one way; ``folder`` is that of ``analyze``.

    Raises:
        UsageError: none is said, or several; else as :func:`in_cluster`, :func:`in_outline` and :func:`in_ranges`.
    """
    if sum(given is not None for given in (cluster, outline, particles, latents or None)) != 1:
        raise UsageError(
            "select.what", "say which particles", expected="one of --cluster --polygon --particles --latents"
        )
    if cluster is not None:
        return in_cluster(run, folder, kind, cluster)
    if outline is not None:
        return in_outline(run, folder, outline)
    return particles if particles is not None else in_ranges(run, latents or {}, half)


def read_outline(path: Path, axes: str | None, half: int | None) -> Outline:
    """A polygon from a text file, two numbers a line, or from JSON: a list of points, or an object with ``points`` and,
    if it says so itself, ``axes``, ``columns`` (two axes from 1) and ``half``.

    Raises:
        InputError: there is no such file, or no polygon in it.
        UsageError: ``axes`` or ``half`` say something else than the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text) if text.lstrip()[:1] in ("[", "{") else _pairs(text)
        stated = content if isinstance(content, dict) else {"points": content}
        points = np.array(stated["points"], dtype=np.float64)
        columns = tuple(int(column) for column in stated.get("columns", (1, 2)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _no_outline(path, error) from error
    for option, given, name in (("--axes", axes, "axes"), ("--half", half, "half")):
        if given is not None and stated.get(name, given) != given:
            raise UsageError(
                "select.contradiction", f"{option} and the file disagree",
                file=path, expected=stated[name], found=given, fix=f"leave out {option}",
            )  # fmt: skip
    return outline_of(points, axes or stated.get("axes"), half or stated.get("half"), columns, path)


def outline_of(
    points: Array, axes: str | None, half: int | None, columns: tuple[int, ...] = (1, 2), path: Path | None = None
) -> Outline:
    """A polygon with corners ``points``, from the file at ``path`` if from one.

    Raises:
        InputError: it is none.
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise _no_outline(path, f"an array of shape {points.shape}")
    if len(columns) != 2:
        raise _no_outline(path, f"{len(columns)} columns")
    return Outline(str(axes or AXES[0]), (columns[0], columns[1]), half, points)


def in_cluster(run: Run, folder: Path, kind: str, cluster: int) -> IntArray:
    """The rows of the particles in a cluster (from 1) that ``analyze`` found.

    Raises:
        UsageError: there is no such cluster; else as :func:`analysed_particles`.
    """
    table = analysed_particles(folder, read_latents(run))
    known = np.unique(table[kind][table[kind] > 0])
    if cluster not in known:
        raise UsageError(
            "select.no-cluster", f"there is no cluster {cluster} of the kind {kind}",
            file=folder / PARTICLES, expected=", ".join(map(str, known)) or "none was found", found=cluster,
        )  # fmt: skip
    return table["row"].to_numpy()[table[kind] == cluster]


def in_outline(run: Run, folder: Path, outline: Outline) -> IntArray:
    """The rows of the particles inside a polygon, ends of one half only where the plane is that of a half.

    Raises:
        UsageError: there is no such plane, or it is not said of which half; else as :func:`analysed_particles`.
    """
    if outline.axes not in AXES:
        raise UsageError(
            "select.axes", "there is no such plane", expected=" or ".join(AXES), found=outline.axes,
            fix="--axes with one of these",
        )  # fmt: skip
    if outline.axes in _OF_ONE_HALF:
        _require_half(run, outline.half)
    table = analysed_particles(folder, read_latents(run))
    plane = np.stack([_column(table, outline.axes, number, folder) for number in outline.columns], axis=1)
    mine = np.ones(len(table), dtype=bool) if outline.half is None else table["half"].to_numpy() == outline.half
    return table["row"].to_numpy()[inside_polygon(plane, outline.points) & mine]


def in_ranges(run: Run, ranges: Ranges, half: int | None) -> IntArray:
    """The rows of the particles whose latents lie in all of the ranges.

    Raises:
        UsageError: there is no such axis or range, or it is not said of which half.
    """
    _require_half(run, half)
    stored = read_latents(run)
    count = stored.mean.shape[1]
    for axis, (low, high) in ranges.items():
        if not 1 <= axis <= count or not low <= high:
            raise _no_range(f"{axis}:{low:g}:{high:g}", f"from 1 to {count}")
    from_zero = {axis - 1: limits for axis, limits in ranges.items()}
    mine = np.ones(len(stored.rows), dtype=bool) if half is None else stored.half == half
    return stored.rows[inside_box(stored.mean.astype(np.float64), from_zero) & mine]


def read_ranges(texts: Iterable[str]) -> Ranges:
    """Ranges as they are typed, ``AXIS:LOW:HIGH``.

    Raises:
        UsageError: a range is none.
    """
    found = {}
    for text in texts:
        try:
            axis, low, high = text.split(":")
            found[int(axis)] = float(low), float(high)
        except ValueError as error:
            raise _no_range(text, "from 1") from error
    return found


def read_rows(path: Path) -> IntArray:
    """Row numbers, counted from 0, one a line; what follows a ``#`` is a comment.

    Raises:
        InputError: there is no such file, or a line is no row number.
    """
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError("select.no-rows", "this list cannot be read", file=path, found=error) from error
    for number, line in enumerate(lines, 1):
        value = line.partition("#")[0].strip()
        if value and not value.isdigit():
            raise InputError(
                "select.no-row", f"line {number} is no row number",
                file=path, expected="one whole number from 0 a line", found=value,
                fix="count the rows of the particle table from 0",
            )  # fmt: skip
        if value:
            rows.append(int(value))
    return np.array(rows, dtype=np.int64)


def _column(table: pd.DataFrame, axes: str, number: int, folder: Path) -> Array:
    """A coordinate in the plane ``axes``, its ``number`` counted from 1."""
    count = len(numbered(table, axes))
    if not 1 <= number <= count:
        raise InputError(
            "select.no-column", f"the analysis has no coordinate {axes} {number}", file=folder / PARTICLES,
            expected=f"from 1 to {count}" if count else f"columns {axes}1 and on",
            fix="choose another column" if count else "dynaflex analyze RUN --umap",
        )  # fmt: skip
    return table[f"{axes}{number}"].to_numpy(dtype=np.float64)


def _require_half(run: Run, half: int | None) -> None:
    """Latents of halves that were trained apart cannot be told apart by one outline."""
    if half is None and config_of(run).half_sets != "shared":
        raise UsageError(
            "select.which-half", "each half of this run has a latent space of its own",
            expected="whose latents are meant",
            fix="--half 1 or --half 2, or choose in the axes they share: --axes motion",
        )  # fmt: skip


def _no_range(text: str, axes: str) -> UsageError:
    return UsageError(
        "select.range", f"--latents cannot be {text!r}",
        expected=f"AXIS:LOW:HIGH with an axis {axes}, like 1:-0.5:1",
    )  # fmt: skip


def _pairs(text: str) -> list[list[float]]:
    lines = [line.partition("#")[0].replace(",", " ").split() for line in text.splitlines()]
    return [[float(value) for value in line] for line in lines if line]


def _no_outline(path: Path | None, found: object) -> InputError:
    return InputError(
        "select.no-outline", "there is no polygon" + ("" if path is None else " in this file"),
        file=path, expected="three points or more: two numbers a line, or JSON", found=found,
        fix="write its corners, one a line",
    )  # fmt: skip
