"""All that the explorer shows of a run, asked in this process as its server would ask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dynaflex.errors import DynaflexError
from dynaflex.report.facts.verdicts import verdicts
from dynaflex.viewer.opened import OpenedRun


def explored(run: Path) -> dict[str, str]:
    """The answer to every question of the page, by the question; ``notices`` are all sentences beside them."""
    opened = OpenedRun(run)
    summary = opened.summary()
    columns = opened.columns() if summary["particles"] else {"columns": []}
    notices = [*summary.pop("notices"), str(columns.pop("trouble", "")), json.dumps(_or_refusal(lambda: verdicts(run)))]
    summary.pop("version")
    found: dict[str, Any] = {"summary": summary, "columns": columns}
    every = [*(summary["particles"] or {"columns": []})["columns"], *columns["columns"]]
    ask: dict[str, Callable[[], Any]] = {
        f"column {one['identifier']}": lambda one=one: opened.column(one["identifier"]) for one in every
    }
    ask |= {f"map {name}": lambda name=name: opened.map(name, None) for name in ("corrected", "rigid", "rigid1")}
    ask |= {f"colour {one['id']}": lambda one=one: opened.map("corrected", one["id"]) for one in summary["colours"]}
    ask |= {f"conformation {half}": lambda half=half: _conformation(opened, half) for half in (1, 2)}
    ask |= {"curves": opened.curves, "progress": lambda: _without_times(opened.progress(0))}
    found |= {question: _or_refusal(answer) for question, answer in ask.items()}
    shown = {question: _text(answer) for question, answer in found.items()}
    return {**shown, "notices": "\n".join(notices)}


def _conformation(opened: OpenedRun, half: int) -> bytes:
    asked = opened.conformations()
    particles = opened.particles()
    z = particles.mean[particles.of_half(half)].mean(axis=0).astype(np.float32)
    return asked.packed(half, asked.of(half, z), "coarse", "displacement", ())


def _without_times(progress: dict[str, Any]) -> dict[str, Any]:
    lines = [{**line, "seconds": 0, "memory_mb": 0} for line in progress["lines"]]
    return {**progress, "version": None, "next": None, "lines": lines}


def _or_refusal(ask: Callable[[], Any]) -> Any:
    """An answer, or what the server says instead of one."""
    try:
        return ask()
    except DynaflexError as error:
        return f"refused: {error}"
    except KeyError as error:
        return f"unknown: {error}"


def _text(answer: Any) -> str:
    return hashlib.sha256(answer).hexdigest() if isinstance(answer, bytes) else json.dumps(answer)
