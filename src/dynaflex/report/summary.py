"""What a run found, in numbers and plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynaflex.report.files import Arrays, Record
from dynaflex.run.monitor import duration
from dynaflex.shapes import Array

# Motion below this is what noise alone leaves in a rigid data set, in Å rms.
NO_MOTION = 0.5


@dataclass(frozen=True)
class Tile:
    """One headline number: what it is, its value, and what it is measured on."""

    label: str
    value: str
    remark: str


@dataclass(frozen=True)
class Motion:
    """The motion in a few numbers, Å rms over particles; the last two are None where no particles were held out."""

    median: float
    strongest: float
    error: float | None
    certain: float | None

    @classmethod
    def of(cls, arrays: Arrays) -> Motion:
        """From ``motion.npz``: median and upper tenth over its points, and the share that moves twice its error."""
        moves = np.asarray(arrays["rms_displacement"], dtype=np.float64)
        median, strongest = (float(np.nanpercentile(moves, share)) for share in (50, 90))
        error = known_error(arrays)
        if error is None:
            return cls(median, strongest, None, None)
        known = np.isfinite(error)
        return cls(median, strongest, float(np.median(error[known])), float((moves > 2 * error)[known].mean()))

    def sentence(self, shared: bool = False) -> str:
        """What moved and how sure that is; halves that ``shared`` one model cannot disagree."""
        if self.strongest < NO_MOTION:
            return f"Nothing moves: nine tenths of the molecule stay within {self.strongest:.2f} Å rms."
        text = (
            f"Half of the molecule moves by more than {self.median:.1f} Å rms, "
            f"the tenth that moves most by more than {self.strongest:.1f} Å."
        )
        if shared:
            return text + " How sure this is cannot be said: both halves share one model of the motion."
        if self.error is None or self.certain is None:
            return text + " How sure this is cannot be said without held-out particles."
        text += f" On particles that trained neither, the two half models disagree by {self.error:.1f} Å in the median."
        if self.certain < 0.01:
            return text + " The motion nowhere exceeds twice that disagreement, so it should not be interpreted."
        return text + f" {self.certain:.0%} of the molecule moves by more than twice the disagreement found there."


def asked(method: str, provenance: Record, shared: bool) -> str:
    """What the run was to find out, from what; empty where the inputs are not known."""
    inputs, counts = provenance.get("inputs"), provenance.get("counts")
    if not isinstance(inputs, dict) or not isinstance(inputs.get("particles"), str):
        return ""
    used = counts.get("used") if isinstance(counts, dict) else None
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
    """How far particles and places move, and how sure that is, Å: rows of text and their heading."""
    rows = [
        ("a particle, rms over its points", arrays["displacement_norm"]),
        ("a place, rms over particles", arrays["rms_displacement"]),
        ("a place, disagreement of the half models", known_error(arrays)),
    ]
    shown = []
    for name, values in rows:
        finite = np.empty(0) if values is None else values[np.isfinite(values)]
        if len(finite):
            shown.append((name, *(f"{np.percentile(finite, share):.2f} Å" for share in (50, 90, 100))))
    return shown, ("displacement of", "median", "a tenth exceeds", "largest")


def resolution(curves: object, threshold: str = "0.143") -> float | None:
    """The resolution in Å that one set of curves of ``fsc.json`` quotes, None where it quotes none."""
    quoted = curves.get("resolution") if isinstance(curves, Mapping) else None
    value = quoted.get(threshold) if isinstance(quoted, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def sharpness_of(fsc: Mapping[str, Any], start: float) -> float:
    """The resolution in Å to show a map at: where its half-maps agree to 0.5, or the one they ``start`` from."""
    return resolution(fsc.get("deformed"), "0.5") or start


def resolution_sentence(fsc: Record, shared: bool = False) -> str:
    """Rigid against corrected, at both thresholds; ``shared`` says that the halves had one model of the motion."""
    before, after = resolution(fsc.get("rigid")), resolution(fsc.get("deformed"))
    limit = fsc.get("claim_limit")
    if after is None and shared:
        return (
            f"No resolution is claimed: the halves share one model, so nothing inside {_length(limit)}, the Nyquist "
            "limit of training, is independent. Train with a smaller --train-box, or with --half-sets independent."
        )
    if after is None:
        inside = f" beyond the {limit:g} Å that both halves started from" if isinstance(limit, int | float) else ""
        return f"No resolution is claimed: the half-maps do not agree{inside}."
    halfway = resolution(fsc.get("deformed"), "0.5")
    text = f"Corrected for the motion, the half-maps agree to {after:.2f} Å at FSC 0.143"
    text += f" and to {halfway:.2f} Å at 0.5" if halfway is not None else ""
    if before is None:
        return text + "; the rigid control reaches no resolution that could be claimed."
    if after < before - 0.005:
        return text + f"; without the correction, the same particles reach {before:.2f} Å."
    part = fsc.get("moving_part")
    if _at_nyquist(fsc.get("deformed"), after) and isinstance(part, Mapping):
        inside = arrow(resolution(part.get("rigid")), resolution(part.get("deformed")))
        return text + (
            f". The rigid control agrees to {before:.2f} Å as well, which is as far as the images reach; "
            f"in the part that moves most it is {inside}, rigid → corrected."
        )
    text += f". This is no better than the rigid control at {before:.2f} Å"
    if isinstance(part, Mapping):
        inside = arrow(resolution(part.get("rigid")), resolution(part.get("deformed")))
        text += f"; in the part that moves most it is {inside}, rigid → corrected"
    return f"{text}."


def _at_nyquist(curves: object, found: float) -> bool:
    frequency = curves.get("frequency") if isinstance(curves, Mapping) else None
    return isinstance(frequency, list) and bool(frequency) and found < 1.0 / float(frequency[-1]) + 0.005


def arrow(before: float | None, after: float | None) -> str:
    """``7.81 → 6.20 Å``, ``none`` where no resolution is claimed."""
    first, second = ("none" if value is None else _digits(value) for value in (before, after))
    return f"{first} → {second} Å"


def _length(value: object) -> str:
    """``6.00 Å``, or words where it is not known."""
    return f"{_digits(float(value))} Å" if isinstance(value, int | float) else "an unknown resolution"


def _digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def counts_sentence(counts: Record) -> tuple[str, str | None]:
    """Particles in = used + excluded, and a warning where that does not hold."""
    table, used, excluded = counts.get("table"), counts.get("used"), excluded_rows(counts)
    if not isinstance(table, int) or not isinstance(used, int):
        return "How many particles were used is not in provenance.json.", None
    sentence = f"{table:,} particles in the table = {used:,} used + {len(excluded):,} excluded."
    if table == used + len(excluded):
        return sentence, None
    return (
        f"{table:,} particles in the table, {used:,} used, {len(excluded):,} listed as excluded.",
        f"The counts do not add up: {table} particles in the table, but {used} used + {len(excluded)} excluded "
        f"= {used + len(excluded)}.",
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
