"""What a run will take, as it was measured before; and where that is kept so that the run finds it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dynaflex.config import RunConfig
from dynaflex.errors import DynaflexError
from dynaflex.io import durable
from dynaflex.kernels import native
from dynaflex.spent import STAGES
from dynaflex.version import __version__

PLAN = "plan.json"
"""The file of a run that says what it was planned to take, if that was measured."""
_KEPT = 50
"""Plans that are kept; older ones go."""


@dataclass(frozen=True)
class Plan:
    """What a run of a ``method`` on so many ``particles`` takes on this machine.

    ``seconds`` and ``cpu_seconds`` are by stage. ``epochs`` are those planned of each half, and with ``epoch_seconds``
    each (of both halves) the training goes on to at most ``most_epochs`` while it surely gains. Memory and disk are in
    MB; that of the device is None on the CPU, and ``cache_mb`` is 0 where images are in memory.
    """

    method: str
    particles: int
    box: int
    train_box: int
    device: str
    threads: int
    side_by_side: bool
    epochs: int
    most_epochs: int
    epoch_seconds: float
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    memory_mb: float
    device_memory_mb: float | None
    disk_mb: float
    cache_mb: float
    measured_seconds: float
    version: str = __version__

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    @property
    def most(self) -> float:
        """Seconds in all if the training goes on as long as it may."""
        return self.total + (self.most_epochs - self.epochs) * self.epoch_seconds

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "total_seconds": self.total, "most_seconds": self.most}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Plan:
        """Undo :meth:`as_dict`.

        Raises:
            TypeError, LookupError: that is no plan.
        """
        plan = cls(**{name: stored[name] for name in cls.__dataclass_fields__})
        if set(plan.seconds) != set(STAGES):
            raise LookupError("stages of another version")
        return plan


def key_of(method: str, config: RunConfig, inputs: Mapping[str, Any], device: torch.device) -> str:
    """What a plan is kept by: the method, its settings as they were asked for, the fingerprint of its ``inputs``, and
    on what it is computed."""
    files = {name: entry["sha256"] for name, entry in inputs.items()}
    told = [__version__, method, config.model_dump(), files, str(device), native.threads()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def keep(plan: Plan, key: str) -> None:
    """Keep a plan for the run that is planned; where there is no room for it the run goes without."""
    with suppress(OSError, DynaflexError):
        durable.make_folder(_folder())
        durable.write_json(_folder() / f"{key}.json", plan.as_dict())
        for old in sorted(_folder().glob("*.json"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink()


def kept(key: str) -> Plan | None:
    """The plan that was kept by this key."""
    try:
        return Plan.from_dict(json.loads((_folder() / f"{key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, LookupError):
        return None


def _folder() -> Path:
    """The folder of plans in the user's cache."""
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "dynaflex" / "plans"
