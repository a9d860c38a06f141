"""The state of a run directory in plain words: what is done, what is damaged, who is at work, and what to do next."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dynaflex
from dynaflex.errors import DynaflexError, InputError
from dynaflex.io.mrc import read_map
from dynaflex.pipelines.fingerprint import changes
from dynaflex.run import lock
from dynaflex.run.directory import CONFIG, LOCK, PROVENANCE, Run
from dynaflex.run.stop import ABORT

_GRID, _FSC = "grid.json", "fsc.json"
_JSON = (CONFIG, PROVENANCE, _GRID, _FSC)


@dataclass
class Diagnosis:
    """What was found in a run directory.

    ``stage`` is the last that is complete: ``nothing``, ``prepare``, ``train``, ``reconstruct`` or ``report``;
    ``checkpoints`` says of each checkpoint what is wrong with it, or None; ``damaged`` are faults that stop a resumed
    run, and ``notes`` are worth knowing.
    """

    run: Path
    stage: str = "nothing"
    holder: str | None = None
    heartbeat: float | None = None
    abandoned: bool = False
    checkpoints: dict[str, str | None] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    inputs_changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    free: int = 0
    size: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    todo: str = ""

    @property
    def healthy(self) -> bool:
        """True if the run is complete or can be resumed as it is."""
        return not self.damaged and not self.inputs_changed

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**vars(self), "run": str(self.run), "healthy": self.healthy}


def examine(path: Path) -> Diagnosis:
    """Look at everything in a run directory and change nothing.

    Raises:
        InputError: there is no such directory, or no run in it.
    """
    if not path.is_dir():
        raise InputError(
            "run.missing", "there is no such run directory", file=path, fix="give the directory named with -o"
        )
    run, found = Run.open(path), Diagnosis(path)
    found.free = shutil.disk_usage(path).free
    found.size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    _look_at_lock(path, found)
    readable = _look_at_files(run, found)
    if readable:
        provenance = run.read_json(PROVENANCE)
        found.versions = {"then": str(provenance.get("version")), "now": dynaflex.__version__}
        if not run.settings_are_whole():
            found.damaged.append("config.json is not the one that the run was started with")
        if provenance.get("inputs"):
            found.inputs_changed = changes(run)
        else:
            found.damaged.append("provenance.json does not name the inputs")
        _look_at_checkpoints(run, found)
    _look_at_maps(run, found)
    found.stage = _stage(run, found) if readable else "nothing"
    found.todo = _advice(run, found)
    return found


def _look_at_lock(path: Path, found: Diagnosis) -> None:
    by = lock.holder(path / LOCK)
    if by is not None:
        found.holder, found.heartbeat = str(by), lock.heartbeat_age(path / LOCK)
        found.abandoned = by.is_dead() or (by.is_elsewhere() and found.heartbeat > lock.SILENT)
    if (path / ABORT).exists():
        found.notes.append(f"{ABORT} asks the run to stop")


def _look_at_files(run: Run, found: Diagnosis) -> bool:
    """Note what of the run's own files cannot be read; False if that leaves nothing to go on."""
    faults = []
    for name in _JSON:
        try:
            run.read_json(name)
        except DynaflexError as error:
            faults.append(f"{name}: {error.problem}")
    found.damaged += faults
    return not any(fault.startswith((CONFIG, PROVENANCE)) for fault in faults)


def _look_at_checkpoints(run: Run, found: Diagnosis) -> None:
    for series in run.store.names():
        states = {path.name: run.store.fault(path) for path in run.store.series(series)}
        found.checkpoints |= states
        if all(fault is not None for fault in states.values()):
            found.damaged.append(f"no checkpoint of {series} is whole")
        elif any(fault is not None for fault in states.values()):
            found.notes.append(f"a damaged checkpoint of {series} will be passed over")


def _look_at_maps(run: Run, found: Diagnosis) -> None:
    for path in sorted(run.maps.glob("*.mrc")):
        try:
            read_map(path)
        except DynaflexError as error:
            found.damaged.append(f"maps/{path.name}: {error.problem}")


def _stage(run: Run, found: Diagnosis) -> str:
    there = {name.partition("_")[0] for name, fault in found.checkpoints.items() if fault is None}
    halves = {"latents0"} if run.config().get("half_sets") == "shared" else {"latents1", "latents2"}
    if (run.path / "report.html").exists() and (run.path / _FSC).exists():
        return "report"
    if (run.path / _FSC).exists():
        return "reconstruct"
    if halves <= there and (run.path / "latents.npz").exists():
        return "train"
    return "prepare" if (run.path / "particles.star").exists() else "nothing"


def _advice(run: Run, found: Diagnosis) -> str:
    resume = f"dynaflex {_method(run)} ... -o {run.path} --resume"
    if found.holder is not None and not found.abandoned:
        return f"wait: {found.holder} is at work in it (last sign of life {found.heartbeat:.0f} s ago)"
    if found.inputs_changed:
        return "put the inputs back as they were, then resume; or start another run from the new ones"
    if any(fault.startswith((CONFIG, PROVENANCE, "no checkpoint")) for fault in found.damaged):
        return "put copies of the damaged files back, or start another run with another -o"
    if found.damaged:
        return f"remove the damaged files and fsc.json, then {resume}"
    by = lock.holder(run.path / LOCK)
    if by is not None and by.is_elsewhere():
        return f"dynaflex doctor {run.path} --force-unlock, then {resume}"
    if found.stage == "report":
        return "nothing: the run is complete"
    return f"resume it: {resume}"


def _method(run: Run) -> str:
    try:
        return str(run.config().get("method", "dynamight"))
    except DynaflexError:
        return "dynamight"
