"""What a run found, in numbers and plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dynaflex.analyze.domains import STILL, moving_part
from dynaflex.report.facts.files import Arrays, Record
from dynaflex.run.monitor import duration
from dynaflex.shapes import Array


@dataclass(frozen=True)
class Tile:
    """One headline number: what it is, its value, and what it is measured on."""

    label: str
    value: str
    remark: str


@dataclass(frozen=True)
class Motion:
    """How far the part that moves does so, and how far the half models disagree about the same points.

    The part is a ``share`` of all points of ``motion.npz``: none where they move by less than 1 Å, 98 % of them by at
    most ``most``. ``size`` and ``error``, in Å, are rms over particles and over the points of the part, and
    ``certain`` is the share of these that move by more than twice their own error. Error and certain are None where no
    particles were held out, and where the halves ``shared`` one model, which cannot disagree with itself.
    """

    share: float
    most: float
    size: float
    error: float | None
    certain: float | None
    shared: bool

    @classmethod
    def of(cls, arrays: Arrays, shared: bool) -> Motion:
        """From ``motion.npz``."""
        moves = np.asarray(arrays["rms_displacement"], dtype=np.float64)
        part = moving_part(moves)
        share, most = float(part.mean()), float(np.nanquantile(moves, 0.98))
        error = None if shared else known_error(arrays)
        if not part.any() or error is None:
            return cls(share, most, _rms(moves[part]), None, None, shared)
        certain = float((moves > 2 * error)[part].mean())
        return cls(share, most, _rms(moves[part]), _rms(error[part]), certain, shared)

    def tile(self) -> Tile:
        """Motion and disagreement, over the same points."""
        if not self.share:
            return Tile("Motion", f"below {STILL:.0f} Å", f"98% of the molecule stay within {self.most:.2f} Å rms")
        where = f"rms in the {self.share:.0%} of the molecule that moves"
        sure = "" if self.error is None else ", ± how far the half models disagree there"
        return Tile("Motion", self._value(), where + sure)

    def sentence(self) -> str:
        """What moved and how sure that is."""
        if not self.share:
            return f"Nothing moves by {STILL:.0f} Å or more: 98% of the molecule stay within {self.most:.2f} Å rms."
        text = f"{self.share:.0%} of the molecule moves, by {self._value()} rms."
        if self.shared:
            return text + " How sure this is cannot be said: both halves share one model of the motion."
        if self.error is None or self.certain is None:
            return text + " How sure this is cannot be said without held-out particles."
        text += " The ± is how far the two half models disagree about that part in particles that trained neither."
        if self.certain < 0.01:
            return text + " The motion nowhere exceeds twice that disagreement, so it should not be interpreted."
        much = "All" if self.certain > 0.995 else f"{self.certain:.0%}"
        return text + f" {much} of the part moves by more than twice the disagreement found there."

    def _value(self) -> str:
        return f"{self.size:.1f} Å" if self.error is None else f"{self.size:.1f} ± {self.error:.1f} Å"


def asked(method: str, provenance: Record, shared: bool) -> str:
    """What the run was to find out, from what; empty where the inputs are not known."""
    inputs, counts = provenance.get("inputs"), provenance.get("counts")
    if not isinstance(inputs, dict) or not isinstance(inputs.get("particles"), str):
        return ""
    used = counts.get("tilted", counts.get("images", counts.get("used"))) if isinstance(counts, dict) else None
    many = f"{used:,} particles of " if isinstance(used, int) else "the particles of "
    start = inputs.get("consensus")
    began = f", starting from {Path(start).name}" if isinstance(start, str) else ""
    halves = "with one model for both halves" if shared else "in two halves that do not know of each other"
    return f"How do {many}{Path(inputs['particles']).name} move? Learned with {method}{began}, {halves}."


def known_error(arrays: Arrays) -> Array | None:
    """The disagreement of the half models ``(n)``; None where nothing was held out, which leaves zeros."""
    error = np.asarray(arrays.get("error", ()))
    return error.astype(np.float64) if error.dtype.kind in "fiu" and (error > 0).any() else None


def displacement_table(arrays: Arrays) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """How far particles and places move, and how sure that is, Å: rows of text and their heading. Places are those of
    the part that moves, where there is one."""
    moves, error = np.asarray(arrays["rms_displacement"], np.float64), known_error(arrays)
    part = moving_part(moves)
    place = "a place in the part that moves" if part.any() else "a place"
    part |= not part.any()
    rows = [
        ("a particle, rms over its points", arrays["displacement_norm"]),
        (f"{place}, rms over particles", moves[part]),
        (f"{place}, disagreement of the half models", None if error is None else error[part]),
        ("a particle, its standard error", arrays.get("particle_error")),
        (f"{place}, its standard error", None if (known := arrays.get("point_error")) is None else known[part]),
    ]
    shown = []
    for name, values in rows:
        finite = np.empty(0) if values is None else values[np.isfinite(values)]
        if len(finite):
            shown.append((name, *(f"{np.percentile(finite, share):.2f} Å" for share in (50, 90, 100))))
    return shown, ("displacement of", "median", "a tenth exceeds", "largest")


def _rms(values: Array) -> float:
    return float(np.sqrt(np.nanmean(np.square(values)))) if len(values) else 0.0


def counts_sentence(counts: Record) -> tuple[str, str | None]:
    """Particles in = used + excluded, and a warning where that does not hold."""
    table, used, excluded = counts.get("table"), counts.get("used"), excluded_rows(counts)
    if not isinstance(table, int) or not isinstance(used, int):
        return "How many particles were used is not in provenance.json.", None
    sentence = f"{table:,} particles in the table = {used:,} used + {len(excluded):,} excluded."
    if table == used + len(excluded):
        images = counts.get("images")
        if isinstance(images, int):
            sentence = f"Of {images:,} particles there are {used:,} copies by symmetry: of each, one unit moves."
        tilted = counts.get("tilted")
        if isinstance(tilted, int):
            sentence = (
                f"{tilted:,} particles were used, each in one conformation. "
                f"{table:,} images of their tilt series = {used:,} used + {len(excluded):,} excluded."
            )
        return sentence, None
    return (
        f"{table:,} particles in the table, {used:,} used, {len(excluded):,} listed as excluded.",
        f"The counts do not add up: {table} particles in the table, but {used} used + {len(excluded)} excluded "
        f"= {used + len(excluded)}.",
    )


def particles(counts: Record) -> Tile:
    """How many particles were used, and left out; of a run with a symmetry also how many copies of them there are, of
    tilt series how many images."""
    used, images, tilted = int(counts["used"]), counts.get("images"), counts.get("tilted")
    left_out = len(excluded_rows(counts))
    if isinstance(tilted, int):
        return Tile("Particles", f"{tilted:,}", f"used, in {used:,} images; {left_out:,} images excluded")
    if not isinstance(images, int) or not images:
        return Tile("Particles", f"{used:,}", f"used; {left_out:,} excluded")
    return Tile(
        "Particles", f"{images:,}", f"used, in {used:,} copies by symmetry; {left_out * images // used:,} excluded"
    )


def excluded_rows(counts: Record) -> list[Record]:
    """The particles left out, each with ``row`` and ``reason``."""
    rows = counts.get("excluded")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def reasons(rows: Sequence[Record]) -> list[tuple[str, int, str]]:
    """Every reason for leaving particles out, how many, and the first of their rows."""
    counted = Counter(str(row.get("reason", "no reason given")) for row in rows)
    result = []
    for reason, count in counted.most_common():
        of_it = [str(row.get("row", "?")) for row in rows if str(row.get("reason", "no reason given")) == reason]
        result.append((reason, count, ", ".join(of_it[:12]) + (", …" if count > 12 else "")))
    return result


def effort(lines: Sequence[Record]) -> str:
    """How much training there was, and what it cost."""
    halves = sorted({str(line["half"]) for line in lines if "half" in line})
    epochs = [
        max(_numbers(line for line in lines if str(line.get("half")) == half)["epoch"], default=0) for half in halves
    ]
    total = _numbers(lines)
    parts = [f"epochs {' + '.join(f'{epoch:g}' for epoch in epochs)}"] if epochs else []
    if total["steps"]:
        parts.append(f"{sum(total['steps']):,.0f} steps")
    if total["seconds"]:
        parts.append(duration(sum(total["seconds"])))
    if total["memory_mb"]:
        parts.append(f"at most {max(total['memory_mb']):,.0f} MB")
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def flattened(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as ``outer.inner`` and text."""
    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows.extend(flattened(value, f"{name}."))
        else:
            rows.append((name, "not set" if value is None else str(value)))
    return rows


def _numbers(lines: Any) -> dict[str, list[float]]:
    """The numbers under the keys that add up over lines."""
    lines = list(lines)
    return {
        key: [float(line[key]) for line in lines if isinstance(line.get(key), int | float)]
        for key in ("epoch", "steps", "seconds", "memory_mb")
    }


def moment(stamp: str) -> str:
    """A time as it is stored in words, ``28 November 2026, 10:42 UTC``; what is no time stands as it is."""
    try:
        time = datetime.fromisoformat(stamp).astimezone(UTC)
    except ValueError:
        return stamp
    return f"{time.day} {time:%B %Y, %H:%M} UTC"
