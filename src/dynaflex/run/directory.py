"""The run directory: settings, provenance, metrics, log, and checkpoints that verify or are not used."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dynaflex
from dynaflex import tell
from dynaflex.errors import DamagedCheckpointError, EnvironmentFault, InputError, RunBusyError, UsageError
from dynaflex.io import durable
from dynaflex.run import lock
from dynaflex.run.monitor import Lines
from dynaflex.run.store import CheckpointStore, Place
from dynaflex.shapes import Tensor

CONFIG, PROVENANCE, METRICS, LOG, LOCK = "config.json", "provenance.json", "metrics.jsonl", "log.txt", "lock.json"
_RESULTS = ("particles.star", "latents.npz", "fsc.json", "report.html", METRICS)


class Run:
    """One run on disk. Only the process that holds its lock writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.maps = path / "maps"
        self.checkpoints = path / "checkpoints"

    @cached_property
    def store(self) -> CheckpointStore:
        """The checkpoints, bound to the particles that the run was started with."""
        inputs = self.read_json(PROVENANCE).get("fingerprint", {})
        return CheckpointStore(self.checkpoints, inputs.get("particles", {}).get("sha256"))

    @classmethod
    def create(
        cls,
        path: Path,
        method: str,
        config: dict[str, Any],
        inputs: dict[str, Any],
        fingerprint: dict[str, Any] | None = None,
    ) -> Run:
        """A new run directory, made by one process even if several try at once.

        ``config.json`` is written last: a directory that has it is a run.

        Raises:
            RunBusyError: the directory already holds a run, or another process is making one.
            UsageError: it holds something else that would be overwritten.
            EnvironmentFault: it cannot be made or written.
        """
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        with lock.locked(path / LOCK, lambda _message: None):
            if (path / CONFIG).exists():
                raise RunBusyError(
                    "run.exists",
                    "this directory already holds a run",
                    file=path,
                    fix="add --resume, or choose another -o",
                )
            run._refuse_to_overwrite()
            try:
                for folder in (run.maps, run.checkpoints, path / "figures"):
                    folder.mkdir(exist_ok=True)
            except OSError as error:
                raise _unwritable(path, error) from error
            settings = {"method": method, **config}
            run.write_json(
                PROVENANCE,
                {
                    "version": dynaflex.__version__,
                    "command": " ".join(sys.argv),
                    "started": datetime.now(UTC).isoformat(timespec="seconds"),
                    "python": platform.python_version(),
                    "torch": version("torch"),
                    "inputs": inputs,
                    "fingerprint": fingerprint or {},
                    "config_sha256": hashlib.sha256(durable.json_bytes(settings)).hexdigest(),
                    "counts": {},
                    "warnings": [],
                    "shared_between_halves": [],
                },
            )
            run.write_json(CONFIG, settings)
        return run

    def _refuse_to_overwrite(self) -> None:
        there = [name for name in _RESULTS if (self.path / name).exists()]
        there += [
            f"{folder.name}/" for folder in (self.maps, self.checkpoints) if folder.is_dir() and any(folder.iterdir())
        ]
        if there:
            raise UsageError(
                "run.not-empty",
                "this directory is not a run, and holds what a run would overwrite",
                file=self.path,
                found=", ".join(there[:5]),
                fix="choose another -o",
            )

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run.

        Raises:
            InputError: there is no run there.
        """
        if not (path / CONFIG).exists():
            raise InputError(
                "run.missing",
                "this is not a run directory",
                file=path,
                expected="config.json in it",
                fix="give the directory that a run was started with, its -o",
            )
        return cls(path)

    def config(self) -> dict[str, Any]:
        """The settings the run was started with, ``method`` among them."""
        return self.read_json(CONFIG)

    def settings_are_whole(self) -> bool:
        """True if the settings are still those that the run was started with."""
        known = self.read_json(PROVENANCE).get("config_sha256")
        return known is None or known == durable.sha256(self.path / CONFIG)

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run; an empty mapping where it does not exist yet.

        Raises:
            DamagedCheckpointError: it is not JSON any more.
        """
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise DamagedCheckpointError(
                "run.damaged-file",
                "this file of the run is damaged",
                file=path,
                expected="the JSON that dynaflex wrote",
                found=str(error),
                fix=f"put a copy back, or start another run; dynaflex doctor {self.path} says what else is whole",
            ) from error

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run durably."""
        durable.write_json(self.path / name, content)

    def write_provenance(self, **entries: Any) -> None:
        """Add entries to ``provenance.json``."""
        self.write_json(PROVENANCE, {**self.read_json(PROVENANCE), **entries})

    def warn(self, message: str) -> None:
        """Tell the user now, and the report's reader later."""
        known = self.read_json(PROVENANCE).get("warnings", [])
        if message not in known:
            self.write_provenance(warnings=[*known, message])
        tell.warn(message)

    def log(self, message: str) -> None:
        """Append a line with the time to ``log.txt``; on a full disk the line is lost, and the run goes on."""
        durable.append_line(self.path / LOG, f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}")

    def record(self, figures: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; on a full disk the line is lost, and the run goes on."""
        durable.append_line(self.path / METRICS, json.dumps(figures))

    def truncate_metrics(self, half: int, epoch: int) -> None:
        """Forget the metrics of epochs of a half that a resumed run will repeat."""
        path = self.path / METRICS
        if path.exists():
            lines = [line for line in map(_figures, path.read_text().splitlines()) if line]
            kept = [line for line in lines if line.get("half") != half or line.get("epoch", 0) <= epoch]
            durable.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process, and clear up after those that died in it. Its log hears all that is told.

        Raises:
            RunBusyError: another living process holds it.
        """
        with lock.locked(self.path / LOCK, self.log):
            for name in durable.remove_leftovers(self.path):
                self.log(f"removed {name}, left unfinished")
            with Lines(self.log).listening():
                yield

    def save_checkpoint(
        self, name: str, epoch: int, tensors: dict[str, Tensor], state: dict[str, Any], *, step: int = 0
    ) -> None:
        """Write the checkpoint of the series ``name`` after so many epochs, and updates of the one that follows."""
        self.store.save(name, Place(epoch, step), tensors, state)

    def load_checkpoint(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint of a series that verifies; None if the series is empty.

        Raises:
            DamagedCheckpointError: there are checkpoints, but none verifies.
        """
        faults = []
        for path in self.store.newest(name):
            try:
                loaded = self.store.read(path)
            except DamagedCheckpointError as damaged:
                faults.append(f"{path.name}: {damaged.problem}")
                continue
            for fault in faults:
                self.warn(f"checkpoint {fault}; it was not used, {path.name} was")
            return loaded
        if faults:
            raise DamagedCheckpointError(
                "checkpoint.none-whole",
                "no checkpoint of this run verifies",
                file=self.checkpoints,
                found="; ".join(faults),
                fix=f"dynaflex doctor {self.path}; then put a copy of the checkpoints back, or start another run",
            )
        return None

    def require_checkpoint(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The newest checkpoint of a series that must exist.

        Raises:
            UsageError: the run has not been trained so far.
        """
        loaded = self.load_checkpoint(name)
        if loaded is None:
            raise UsageError(
                "run.untrained",
                "this run has no trained model yet",
                file=self.path,
                fix="train it first, with --resume",
            )
        return loaded


def _figures(line: str) -> dict[str, Any] | None:
    """A line of ``metrics.jsonl``; None for one that was cut short."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def _unwritable(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        "run.unwritable",
        f"the run directory cannot be made: {error.strerror}",
        file=path,
        fix="choose a directory that you may write to with -o",
    )
