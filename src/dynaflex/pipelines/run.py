"""The run directory: settings, provenance, metrics, log, and checkpoints that verify or are not used."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

import dynaflex
from dynaflex.errors import DamagedCheckpointError, EnvironmentFault, InputError, RunBusyError, UsageError
from dynaflex.io import durable
from dynaflex.shapes import Tensor

KEEP = 2
_CHECKPOINT_FILES = ("state.safetensors", "state.json")


class Run:
    """One run on disk. Only the process that holds its lock writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.maps = path / "maps"
        self.checkpoints = path / "checkpoints"

    @classmethod
    def create(cls, path: Path, method: str, config: dict[str, Any], inputs: dict[str, Any]) -> Run:
        """A new run directory.

        Raises:
            RunBusyError: the directory already holds a run.
            EnvironmentFault: it cannot be made or written.
        """
        run = cls(path)
        if (path / "config.json").exists():
            raise RunBusyError(
                "run.exists", "this directory already holds a run", file=path, fix="add --resume, or choose another -o"
            )
        try:
            for folder in (run.maps, run.checkpoints, path / "figures"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(
                "run.unwritable",
                f"the run directory cannot be made: {error.strerror}",
                file=path,
                fix="choose a directory that you may write to with -o",
            ) from error
        durable.write_json(path / "config.json", {"method": method, **config})
        run.write_provenance(
            version=dynaflex.__version__,
            command=" ".join(sys.argv),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            python=platform.python_version(),
            inputs=inputs,
            counts={},
            warnings=[],
            shared_between_halves=[],
        )
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run.

        Raises:
            InputError: there is no run there.
        """
        if not (path / "config.json").exists():
            raise InputError("run.missing", "this is not a run directory", file=path, expected="config.json in it")
        return cls(path)

    def config(self) -> dict[str, Any]:
        """The settings the run was started with, ``method`` among them."""
        return self.read_json("config.json")

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run; an empty mapping where it does not exist yet."""
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else {}

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run durably."""
        durable.write_json(self.path / name, content)

    def write_provenance(self, **entries: Any) -> None:
        """Add entries to ``provenance.json``."""
        self.write_json("provenance.json", {**self.read_json("provenance.json"), **entries})

    def warn(self, message: str) -> None:
        """Tell the user now, and the report's reader later."""
        known = self.read_json("provenance.json").get("warnings", [])
        if message not in known:
            self.write_provenance(warnings=[*known, message])
        self.log(f"warning: {message}")

    def log(self, message: str) -> None:
        """Append a line with the time to ``log.txt``."""
        with (self.path / "log.txt").open("a") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}\n")

    def record(self, figures: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(figures) + "\n")

    def truncate_metrics(self, half: int, epoch: int) -> None:
        """Forget the metrics of epochs of a half that a resumed run will repeat."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
            kept = [line for line in lines if line.get("half") != half or line.get("epoch", 0) <= epoch]
            durable.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; a lock whose process is gone is taken over.

        Raises:
            RunBusyError: another living process holds it.
        """
        lock = self.path / "lock.json"
        if lock.exists():
            holder = json.loads(lock.read_text())
            if holder["host"] != socket.gethostname() or _alive(holder["pid"]):
                raise RunBusyError(
                    "run.busy",
                    f"process {holder['pid']} on {holder['host']} is working in this run since {holder['since']}",
                    file=self.path,
                    fix="wait for it, or delete lock.json if that process is gone",
                )
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        durable.write_json(lock, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

    def save_checkpoint(self, name: str, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write checkpoint ``step`` of the series ``name``: a directory that appears whole or not at all."""
        final = self.checkpoints / f"{name}_{step:05d}"
        temporary = final.with_name(final.name + ".writing")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        contiguous = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
        durable.write_bytes(temporary / "state.safetensors", save(contiguous))
        durable.write_json(temporary / "state.json", state)
        sums = {file: durable.sha256(temporary / file) for file in _CHECKPOINT_FILES}
        durable.write_json(temporary / "manifest.json", sums)
        durable.sync_folder(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        durable.sync_folder(self.checkpoints)
        for old in self._series(name)[:-KEEP]:
            shutil.rmtree(old)

    def load_checkpoint(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint of a series that verifies; None if the series is empty.

        Raises:
            DamagedCheckpointError: there are checkpoints, but none verifies.
        """
        series = self._series(name)
        for path in reversed(series):
            if _verifies(path):
                return load_file(path / "state.safetensors"), json.loads((path / "state.json").read_text())
            self.warn(f"checkpoint {path.name} is damaged and was not used")
        if series:
            raise DamagedCheckpointError(
                "checkpoint.damaged",
                "no checkpoint of this run verifies",
                file=self.checkpoints,
                fix="start the run again in another directory",
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

    def _series(self, name: str) -> list[Path]:
        found = self.checkpoints.glob(f"{name}_[0-9][0-9][0-9][0-9][0-9]")
        return sorted(path for path in found if path.is_dir())


def _verifies(path: Path) -> bool:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        return all(durable.sha256(path / file) == manifest[file] for file in _CHECKPOINT_FILES)
    except (OSError, ValueError, LookupError):
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
