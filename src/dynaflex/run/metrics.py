"""The figures of a training, one JSON line an epoch: written as they come, read by whoever wants to watch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dynaflex.errors import DamagedCheckpointError
from dynaflex.io import durable
from dynaflex.run.ledger import Ledger

METRICS = "metrics.jsonl"
_OWNER = "run"
_DIGITS = 12


class Metrics:
    """``metrics.jsonl`` of a run. Every line names its run (``owner``), so that those of another are known.

    Between two trainings the file stands in the list of the run's ``files``, so that a line that is lost or changed is
    known too.
    """

    def __init__(self, folder: Path, owner: str | None, files: Ledger) -> None:
        self.path = folder / METRICS
        self.files = files
        self.owner = None if owner is None else owner[:_DIGITS]

    def record(self, figures: dict[str, Any]) -> None:
        """Append one line; on a full disk the line is lost, and the run goes on."""
        own = {} if self.owner is None else {_OWNER: self.owner}
        durable.append_line(self.path, json.dumps({**figures, **own}))

    def lines(self) -> list[dict[str, Any]]:
        """All lines but one that was cut short; none before there are any.

        Raises:
            DamagedCheckpointError: a line is that of another run, or what is there is something else.
        """
        fault = self.files.fault(METRICS)
        if fault is not None:
            raise self._damaged(fault, "other bytes" if self.path.exists() else "no such file")
        if not self.path.exists():
            return []
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise self._damaged("this file of the run cannot be read", str(error)) from error
        found = [line for line in map(_parsed, text.splitlines()) if line is not None]
        if text.strip() and not found:
            raise self._damaged("this file of the run is damaged", text[:60])
        if any(not self.is_own(line) for line in found):
            raise self._damaged("this file is that of another run", "lines that another run wrote")
        return [{name: value for name, value in line.items() if name != _OWNER} for line in found]

    def is_own(self, line: dict[str, Any]) -> bool:
        """False for the line of another run."""
        return self.owner is None or line.get(_OWNER, self.owner) == self.owner

    def forget(self, half: int, after: int) -> None:
        """Forget the epochs of a half that a resumed run will repeat, those ``after`` one; more lines will come."""
        kept = [line for line in self.lines() if line.get("half") != half or line.get("epoch", 0) <= after]
        self.files.reopen(METRICS)
        if self.path.exists():
            own = {} if self.owner is None else {_OWNER: self.owner}
            durable.write_text(self.path, "".join(json.dumps({**line, **own}) + "\n" for line in kept))

    def close(self) -> None:
        """No more lines come, for now."""
        self.files.close(METRICS)

    def _damaged(self, problem: str, found: str) -> DamagedCheckpointError:
        return DamagedCheckpointError(
            "run.damaged-file", problem, file=self.path, expected="one JSON line an epoch", found=found,
            fix=f"put a copy back; or remove it and dynaflex doctor {self.path.parent} --accept-files: then the curves "
            "of the training are lost, and nothing else is",
        )  # fmt: skip


def _parsed(line: str) -> dict[str, Any] | None:
    """A line; None for one that was cut short."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
