"""What can be read of a run at work: its metrics line by line, its resolution, and whether it still works."""

from __future__ import annotations

import json
from typing import Any

from dynaflex.run import lock
from dynaflex.run.directory import LOCK, Run
from dynaflex.run.metrics import METRICS

_PIECE = 1 << 20


def new_metrics(run: Run, since: int) -> dict[str, Any]:
    """New whole lines of the metrics from byte ``since`` on, and where to go on reading as ``next``.

    A file that has become shorter is read again from its beginning, which ``restarted`` says. One that is not what the
    run wrote has no lines.
    """
    path = run.path / METRICS
    size = path.stat().st_size if path.exists() and run.files.fault(METRICS) is None else 0
    start = since if 0 <= since <= size else 0
    text = b""
    if size > start:
        with path.open("rb") as stream:
            stream.seek(start)
            text = stream.read(_PIECE)
    whole = text[: text.rfind(b"\n") + 1]
    return {
        "lines": [line for line in map(_figures, whole.splitlines()) if line],
        "next": start + len(whole),
        "restarted": start != since,
    }


def is_at_work(run: Run) -> bool:
    """Whether somebody holds the run and has not died, as far as can be told from here."""
    path = run.path / LOCK
    by = lock.holder(path)
    if by is None or by.is_dead():
        return False
    return not by.is_elsewhere() or lock.heartbeat_age(path) <= lock.SILENT


def shell_correlations(run: Run) -> dict[str, Any]:
    """Of the ``whole`` map and its ``moving_part``: for each map ``frequency`` in 1/Å, ``fsc`` and ``resolution``.

    Those with the solvent masked are preferred, corrected for the mask if they can be.
    """
    fsc = run.read_json("fsc.json")
    names = ("deformed", "rigid")
    found: dict[str, Any] = {"claim_limit": fsc.get("claim_limit"), "whole": {}, "moving_part": {}}
    for part, curves in (("whole", fsc), ("moving_part", fsc.get("moving_part") or {})):
        found[part] = {name: _curve(curves[name]) for name in names if isinstance(curves.get(name), dict)}
    return found


def _curve(curves: dict[str, Any]) -> dict[str, Any]:
    values = curves.get("corrected") or curves.get("masked") or curves.get("unmasked")
    return {"frequency": curves.get("frequency"), "fsc": values, "resolution": curves.get("resolution")}


def _figures(line: bytes) -> dict[str, float | str] | None:
    """The numbers and words of one line; None for a line that is not whole."""
    try:
        content = json.loads(line, parse_constant=lambda _name: None)
    except ValueError:
        return None
    return {key: value for key, value in content.items() if isinstance(value, int | float | str)}
