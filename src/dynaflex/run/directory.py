"""The run directory: settings, provenance, metrics, log, and checkpoints that verify or are not used."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from dynaflex import tell
from dynaflex.errors import DamagedCheckpointError, InputError, RunBusyError, UsageError
from dynaflex.io import durable
from dynaflex.run import lock
from dynaflex.run.ledger import LEDGER, Ledger
from dynaflex.run.metrics import METRICS, Metrics
from dynaflex.run.monitor import Lines
from dynaflex.run.refusals import lost_list, not_empty, to_resume, untrained, unwritable
from dynaflex.run.results import REPORT, listed_in
from dynaflex.run.store import CheckpointStore, Place
from dynaflex.shapes import Tensor
from dynaflex.version import __version__

T = TypeVar("T")
CONFIG, PROVENANCE, LOG, LOCK, PAGE = "config.json", "provenance.json", "log.txt", "lock.json", "report.html"
_RESULTS = ("particles.star", "input.cs", "latents.npz", "fsc.json", PAGE, METRICS)
_ONCE = (CONFIG, PROVENANCE, "grid.json", "mesh.npz", "threshold.json")
"""Files that are written when a run begins, and by nothing later."""


class Run:
    """One run on disk. Only the process that has its lock open at ``lock`` writes to it, and those that work for it."""

    lock: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.maps, self.checkpoints = path / "maps", path / "checkpoints"
        self.files = Ledger(path)

    @cached_property
    def metrics(self) -> Metrics:
        """The figures of the training."""
        return Metrics(self.path, self.identity, self.files)

    @cached_property
    def store(self) -> CheckpointStore:
        """The checkpoints, bound to the particles and the settings that the run was started with."""
        return CheckpointStore(self.checkpoints, self.identity)

    @cached_property
    def identity(self) -> str | None:
        """What tells this run from those of other settings or particles; None for one that does not know."""
        provenance = self.read_json(PROVENANCE)
        known = [provenance.get("fingerprint", {}).get("particles", {}).get("sha256"), provenance.get("config_sha256")]
        return hashlib.sha256("".join(known).encode()).hexdigest() if all(known) else None

    @classmethod
    def create(
        cls, path: Path, method: str, config: dict[str, Any], inputs: dict[str, Any],
        fingerprint: dict[str, Any] | None = None,
    ) -> Run:  # fmt: skip
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
            raise unwritable(path, error) from error
        with lock.locked(path / LOCK, lambda _message: None):
            if (path / CONFIG).exists():
                raise RunBusyError(
                    "run.exists", "this directory already holds a run", file=path,
                    fix=f"{to_resume(path)}, or choose another -o",
                )  # fmt: skip
            run._refuse_to_overwrite()
            try:
                for folder in (run.maps, run.checkpoints, path / "figures"):
                    folder.mkdir(exist_ok=True)
            except OSError as error:
                raise unwritable(path, error) from error
            settings = {"method": method, **config}
            run.files.begin()
            run.write_json(
                PROVENANCE,
                {
                    "version": __version__,
                    "command": " ".join(sys.argv),
                    "started": datetime.now(UTC).isoformat(timespec="seconds"),
                    "python": platform.python_version(),
                    "torch": version("torch"),
                    "inputs": inputs,
                    "fingerprint": fingerprint or {},
                    "config_sha256": hashlib.sha256(durable.json_bytes(settings)).hexdigest(),
                    "files_listed": True,
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
            raise not_empty(self.path, there)

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run.

        Raises:
            InputError: there is no run there.
            DamagedCheckpointError: the list of its files is missing, damaged, or that of another run.
        """
        if not (path / CONFIG).exists():
            raise InputError(
                "run.missing", "this is not a run directory", file=path, expected=f"{CONFIG} in it",
                fix="give the directory that a run was started with, its -o",
            )  # fmt: skip
        run = cls(path)
        run._require_own_list()
        return run

    def _require_own_list(self) -> None:
        """Where the settings are those that the provenance knows, a list that does not know them is another run's."""
        listed = self.files.names()
        recorded = self._parsed(PROVENANCE) if self.files.has(PROVENANCE) else {}
        whole = recorded.get("config_sha256") == durable.sha256(self.path / CONFIG)
        foreign = bool(listed) and whole and self.files.fault(CONFIG) is not None
        if foreign or (recorded.get("files_listed") and not listed):
            raise lost_list(self.path / LEDGER)

    def dissolve(self) -> None:
        """Take away all that :meth:`create` and a first stage wrote, so that the directory is free; the log stays."""
        for name in (*self.files.names(), LEDGER, METRICS, PAGE, listed_in(self.path, REPORT).path.name):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.maps, self.checkpoints, self.path / "figures"):
            shutil.rmtree(folder, ignore_errors=True)

    def config(self) -> dict[str, Any]:
        """The settings the run was started with, ``method`` among them."""
        return self.require_json(CONFIG)

    def verified(self, name: str) -> Path:
        """The path of a file of the run, which is as the run wrote it.

        Raises:
            UsageError: it has not been written yet.
            DamagedCheckpointError: it is missing, or is not what was written.
        """
        fault = self.files.fault(name)
        if fault is not None:
            raise DamagedCheckpointError(
                "run.damaged-file", fault, file=self.path / name, expected="the file that dynaflex wrote",
                fix=self.remedy(name),
            )  # fmt: skip
        if not (self.path / name).is_file():
            raise UsageError("run.not-yet", f"this run has no {name} yet", file=self.path, fix=to_resume(self.path))
        return self.path / name

    def is_made_again(self, name: str) -> bool:
        """True for a file that resuming the run writes again."""
        return name not in (*_ONCE, METRICS, "validation.json")

    def remedy(self, name: str) -> str:
        """What brings a file back that is damaged."""
        if name in _ONCE:
            return "put a copy back, or start another run"
        if name == METRICS:
            return f"put a copy back, or remove it and dynaflex doctor {self.path} --accept-files"
        again = f"dynaflex validate {self.path}" if name == "validation.json" else to_resume(self.path)
        return f"{again}, which makes it again; or put a copy back"

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run; an empty mapping where it does not exist yet.

        Raises:
            DamagedCheckpointError: it is missing or not what was written.
        """
        return self.require_json(name) if self.files.has(name) else {}

    def require_json(self, name: str) -> dict[str, Any]:
        """A JSON file that the run must have; errors as :meth:`verified`."""
        self.verified(name)
        return self._parsed(name)

    def _parsed(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("no JSON object")
        except (OSError, ValueError) as error:
            raise DamagedCheckpointError(
                "run.damaged-file", "this file of the run is damaged", file=path,
                expected="the JSON that dynaflex wrote", found=str(error), fix=self.remedy(name),
            ) from error  # fmt: skip
        return content

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run durably."""
        with self.files.writing(name) as path:
            durable.write_json(path, content)

    def write_provenance(self, **entries: Any) -> None:
        """Add entries to ``provenance.json``."""
        self.write_json(PROVENANCE, {**self.read_json(PROVENANCE), **entries})

    def warn(self, message: str) -> None:
        """Tell the user now, and the report's reader later."""
        known = self.read_json(PROVENANCE).get("warnings", [])
        if message not in known:
            self.write_provenance(warnings=[*known, message])
        tell.warn(message)

    def do(self, change: Callable[..., T], *given: Any) -> T:
        """``change(run, *given)``, by the process that holds the run: another one, for who works for it."""
        return change(self, *given)

    def log(self, message: str) -> None:
        """Append a line with the time to ``log.txt``; on a full disk the line is lost, and the run goes on."""
        durable.append_line(self.path / LOG, f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process, and clear up after those that died in it. Its log hears all that is told.

        Raises:
            RunBusyError: another living process holds it.
        """
        try:
            with lock.locked(self.path / LOCK, self.log) as self.lock:
                for name in durable.remove_leftovers(self.path):
                    self.log(f"removed {name}, left unfinished")
                self.files.settle()
                with Lines(self.log).listening():
                    yield
        finally:
            self.lock = None

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
                "checkpoint.none-whole", "no checkpoint of this run verifies", file=self.checkpoints,
                found="; ".join(faults),
                fix=f"dynaflex doctor {self.path}; then put a copy of the checkpoints back, or start another run",
            )  # fmt: skip
        return None

    def require_checkpoint(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The newest checkpoint of a series that must exist.

        Raises:
            UsageError: the run has not been trained so far.
        """
        loaded = self.load_checkpoint(name)
        if loaded is None:
            raise untrained(self.path)
        return loaded
