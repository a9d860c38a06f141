"""How far the half-maps of a run agree, in the words that the report and the explorer share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dynaflex.report.facts.files import Record
from dynaflex.report.facts.summary import Tile
from dynaflex.validate.controls import SURE

_AT, _CLOSE = 1.001, 1.05
"""How many times the limit a resolution may be to lie at it, and close to it."""


def quoted(curves: object, threshold: str = "0.143") -> float | None:
    """The resolution in Å that one set of curves of ``fsc.json`` quotes, None where it quotes none."""
    found = curves.get("resolution") if isinstance(curves, Mapping) else None
    value = found.get(threshold) if isinstance(found, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Nyquist:
    """The finest resolution in Å that maps can have, and what sets it: the ``images``, or the ``maps`` themselves where
    they were made in a smaller box."""

    limit: float
    whose: str

    @classmethod
    def of(cls, fsc: Record, grid: Record) -> Nyquist | None:
        """That of the last shell of ``fsc.json``; ``grid.json`` knows the pixel size of the images."""
        curves = fsc.get("deformed")
        frequency = curves.get("frequency") if isinstance(curves, Mapping) else None
        last = frequency[-1] if isinstance(frequency, list) and frequency else None
        if not isinstance(last, float) or last <= 0.0:
            return None
        limit, pixel_size = 1.0 / last, grid.get("pixel_size")
        cropped = isinstance(pixel_size, int | float) and limit > 2.0 * _CLOSE * pixel_size
        return cls(limit, "maps" if cropped else "images")

    @property
    def name(self) -> str:
        """What it is called."""
        return f"Nyquist limit of the {self.whose}"

    def reached(self, *found: float | None) -> bool:
        """Whether one of the resolutions is as good as it can be, or close to that."""
        return any(value is not None and value < _CLOSE * self.limit for value in found)

    def beside(self, found: float | None) -> str:
        """What stands beside a resolution that lies at the limit or close to it; nothing beside another."""
        if not self.reached(found):
            return ""
        at = found is not None and found < _AT * self.limit
        return f", the {self.name}" if at else f", close to the {self.name}, {_digits(self.limit)} Å"


def resolution_tiles(fsc: Record, grid: Record) -> Iterator[Tile]:
    """Rigid and corrected, in the whole map and in the part that moves."""
    nyquist = Nyquist.of(fsc, grid)
    for label, curves in (("Resolution", fsc), ("In the moving part", fsc.get("moving_part"))):
        if isinstance(curves, Mapping):
            pair = quoted(curves.get("rigid")), quoted(curves.get("deformed"))
            remark = "rigid → corrected, half-maps at FSC 0.143"
            if nyquist is not None and nyquist.reached(*pair):
                remark += f"; the {nyquist.name} is {_digits(nyquist.limit)} Å"
            yield Tile(label, _arrow(*pair), remark)


def resolution_sentence(fsc: Record, grid: Record, shared: bool) -> str:
    """Rigid against corrected, at both thresholds; ``shared`` says that the halves had one model of the motion."""
    before, after = quoted(fsc.get("rigid")), quoted(fsc.get("deformed"))
    limit, nyquist = fsc.get("claim_limit"), Nyquist.of(fsc, grid)
    if after is None and shared:
        return (
            f"No resolution is claimed: the halves share one model, so nothing inside {_length(limit)}, the Nyquist "
            "limit of training, is independent. Train with a smaller --train-box, or with --half-sets independent."
        )
    if after is None:
        inside = f" beyond the {limit:g} Å that both halves started from" if isinstance(limit, int | float) else ""
        return f"No resolution is claimed: the half-maps do not agree{inside}."
    halfway = quoted(fsc.get("deformed"), "0.5")
    text = f"Corrected for the motion, the half-maps agree at FSC 0.143 to {_length(after)}"
    text += nyquist.beside(after) if nyquist else ""
    text += f", and at 0.5 to {_length(halfway)}" if halfway is not None else ""
    if before is None:
        return text + "; the rigid control reaches no resolution that could be claimed."
    if after < before - 0.005:
        return text + f"; without the correction, the same particles reach {_length(before)}."
    if nyquist is not None and after < _AT * nyquist.limit:
        text += ". The rigid control gets as far, and no map can get further"
    else:
        text += f". This is no better than the rigid control at {_length(before)}"
        text += nyquist.beside(before) if nyquist else ""
    part = fsc.get("moving_part")
    if isinstance(part, Mapping):
        pair = quoted(part.get("rigid")), quoted(part.get("deformed"))
        text += f"; in the part that moves it is {_arrow(*pair)}"
        text += (nyquist.beside(pair[1]) if nyquist else "") + ", rigid → corrected"
    return f"{text}."


def docking_sentence(fsc: Record) -> str:
    """How far apart the part that moves rests in the two half-maps, and whether noise explains that; nothing where it
    was not measured."""
    docked, part = fsc.get("docked_part"), fsc.get("moving_part")
    if not isinstance(docked, Mapping) or not isinstance(part, Mapping):
        return ""
    named = [docked.get(name) for name in ("angle", "angle_error", "shift", "shift_error")]
    values = [float(value) for value in named if isinstance(value, int | float)]
    if len(values) < len(named):
        return ""
    angle, angle_error, shift, shift_error = values
    apart = f"{angle:.1f} ± {angle_error:.1f} degrees and {shift:.1f} ± {shift_error:.1f} Å apart"
    if angle <= SURE * angle_error and shift <= SURE * shift_error:
        return f"The part that moves rests alike in both half-maps: {apart}, for which noise is enough."
    text = f"The part that moves rests {apart} in the two half-maps"
    before, after = quoted(part.get("deformed")), quoted(docked.get("deformed"))
    if after is not None:
        text += f"; laid over each other as rigid bodies they agree at FSC 0.143 to {_length(after)}"
        text += f", as they stand to {_length(before)}" if before is not None else ""
        text += ". That is the same density in different places, and no resolution of the map"
    return f"{text}."


def _arrow(before: float | None, after: float | None) -> str:
    """``7.81 → 6.20 Å``, ``none`` where no resolution is claimed."""
    first, second = ("none" if value is None else _digits(value) for value in (before, after))
    return f"{first} → {second} Å"


def _length(value: object) -> str:
    """``6.00 Å``, or words where it is not known."""
    return f"{_digits(float(value))} Å" if isinstance(value, int | float) else "an unknown resolution"


def _digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
