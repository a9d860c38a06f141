"""How training went, epoch by epoch, from the lines of ``metrics.jsonl`` to curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynaflex.report.drawing.curves import Curve, Plot
from dynaflex.report.drawing.style import HALF
from dynaflex.report.facts.advice import held_out_gain
from dynaflex.shapes import Array

Records = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Panel:
    """A title over the curves of what was learned from, under ``key``, and of what was ``held_out``, dashed."""

    title: str
    key: str
    held_out: str = ""
    level: float | None = None
    inverted: bool = False


def training_plots(records: Records, geometry: str, width: float | None) -> list[Plot]:
    """Curves by epoch and half: likelihood, gain over rest, the ``geometry`` of the molecule, displacement, and others.

    There is a plot of everything that has numbers. The band limit of a map is given in Å if the ``width`` of the
    training box in Å is known, and as a Fourier shell if not.
    """
    lines = list(_derived(records, width))
    halves = sorted({int(half) for line in lines if isinstance(half := line.get("half"), int) and half in HALF})
    found = []
    for panel in _panels(lines, geometry, width):
        curves = [curve for half in halves for curve in _curves(panel, half, lines)]
        if curves:
            found.append(_plot(panel, curves, lines))
    return found


def _panels(lines: Records, geometry: str, width: float | None) -> Iterator[Panel]:
    if np.isfinite(_column(lines, "log_likelihood")).any():
        yield Panel("log-likelihood, nats a particle", "log_likelihood", "held_out_log_likelihood")
    else:
        yield Panel("data loss, nats a particle", "data_loss", "held_out_loss")
    yield Panel("gain over rest, nats a particle", "gain", "held_out_gain", level=0.0)
    yield Panel(geometry, "geometry")
    yield Panel("rms displacement, Å", "rms_displacement")
    if len({line.get("lambda") for line in lines} - {None}) > 1:
        yield Panel("weight of the geometry, λ", "lambda")
    unit = "Fourier shell" if width is None else "Å"
    yield Panel(f"band limit of the map, {unit}", "limit", inverted=width is not None)
    yield Panel("rms latent coordinate", "latent_spread")
    if (_column(lines, "contrast_spread") > 0.0).any():
        yield Panel("spread of the particles' contrast (of its logarithm)", "contrast_spread")


def _derived(records: Records, width: float | None) -> Iterator[dict[str, object]]:
    """The lines with the gain over the map at rest and the band limit in the unit that is shown.

    In the first epoch of runs that keep a loss noise still counts as white, which sets a scale of its own: it is left
    out.
    """
    many = max(_column(records, "epoch"), default=0) > 2
    for record in records:
        line = {**record, "held_out_gain": held_out_gain(record)}
        band = record.get("band")
        if isinstance(band, int | float) and band > 0:
            line["limit"] = band if width is None else width / band
        if many and record.get("epoch") == 1:
            line |= {"data_loss": None, "held_out_loss": None}
        yield line


def _curves(panel: Panel, half: int, lines: Records) -> Iterator[Curve]:
    mine = [line for line in lines if line.get("half") == half]
    epoch, name = _column(mine, "epoch"), f"half {half}" if half else "all particles"
    for key, label, style in ((panel.key, name, "-"), (panel.held_out, f"{name}, held out", "--")):
        values = _column(mine, key)
        if np.isfinite(values).any():
            yield Curve(label, epoch, values, HALF[half], style)


def _plot(panel: Panel, curves: list[Curve], lines: Records) -> Plot:
    styles = {curve.style for curve in curves}
    title = panel.title + {"--": ", held out", "---": "; held out dashed"}.get("".join(sorted(styles)), "")
    known = _column(lines, "epoch")
    first, last = float(np.nanmin(known)), float(np.nanmax(known))
    return Plot(
        title, curves, "epoch", inverted=panel.inverted, x_limits=(first - 0.5, last + 0.5),
        levels={} if panel.level is None else {panel.level: ""}, bands=_shaded(lines),
    )  # fmt: skip


def _shaded(lines: Records) -> list[tuple[float, float]]:
    """Epochs of the Gaussians alone, the warm-up and the refreshes of the reference; or those before the first map.

    Those of the half that is named first, as ranges around whole numbers.
    """
    first = next((line.get("half") for line in lines), None)
    epochs = [(line.get("phase"), line.get("epoch")) for line in lines if line.get("half") == first]
    known = [(phase, float(epoch)) for phase, epoch in epochs if isinstance(epoch, int | float)]
    first_map = min((epoch for phase, epoch in known if phase == "map"), default=np.inf)
    ranges: list[tuple[float, float]] = []
    for phase, epoch in known:
        if phase in ("warm-up", "gaussians") or (phase == "flow" and epoch < first_map):
            joined = bool(ranges) and ranges[-1][1] == epoch - 0.5
            ranges.append((ranges.pop()[0] if joined else epoch - 0.5, epoch + 0.5))
    return ranges


def _column(lines: Records, key: str) -> Array:
    """One value per line, NaN where it is missing or null."""
    values = (line.get(key) for line in lines)
    return np.array([value if isinstance(value, int | float) else np.nan for value in values], dtype=np.float64)
