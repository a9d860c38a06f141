"""The state of a run directory in plain words: what is done, what is damaged, who is at work, and what to do next."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynaflex.errors import DamagedCheckpointError, InputError, OtherVersionError
from dynaflex.prepare.fingerprint import changes
from dynaflex.results.reopen import Moved, resume_command, where_they_are
from dynaflex.results.settings import config_of
from dynaflex.run import lock
from dynaflex.run.directory import CONFIG, LOCK, PAGE, PROVENANCE, Run
from dynaflex.run.files import FSC, LATENTS, TABLE
from dynaflex.run.metrics import METRICS
from dynaflex.run.refusals import to_resume
from dynaflex.run.results import REPORT, faults_below, listed_in
from dynaflex.run.stop import ABORT
from dynaflex.version import __version__


@dataclass
class Diagnosis:
    """What was found in a run directory.

    ``stage`` is the last that is complete: ``nothing``, ``prepare``, ``train``, ``reconstruct`` or ``report``;
    ``checkpoints`` says of each checkpoint what is wrong with it, or None; ``damaged`` are faults that stop a resumed
    run, and ``notes`` are worth knowing. ``kernels`` are what computed it, in their order.
    """

    run: Path
    stage: str = "nothing"
    holder: str | None = None
    heartbeat: float | None = None
    abandoned: bool = False
    checkpoints: dict[str, str | None] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    inputs_changed: list[str] = field(default_factory=list)
    inputs_gone: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    free: int = 0
    size: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    kernels: list[str] = field(default_factory=list)
    todo: str = ""

    @property
    def healthy(self) -> bool:
        """True if the run is complete or can be resumed as it is."""
        return not (self.damaged or self.inputs_changed or (self.inputs_gone and self.stage != "report"))

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**vars(self), "run": str(self.run), "healthy": self.healthy}


def examine(path: Path) -> Diagnosis:
    """Look at everything in a run directory and change nothing.

    Raises:
        InputError: there is no such directory, or no run in it.
    """
    if not (path / CONFIG).exists():
        Run.open(path)
    run, found = Run(path), Diagnosis(path)
    found.free = shutil.disk_usage(path).free
    found.size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    _look_at_lock(path, found)
    if _look_at_files(run, found):
        provenance = run.read_json(PROVENANCE)
        found.versions = {"then": str(provenance.get("version")), "now": __version__}
        found.kernels = list(provenance.get("kernels", []))
        _look_at_checkpoints(run, found)
        try:
            found.stage = _stage(run, found)
            _look_at_inputs(run, found)
        except OtherVersionError as error:
            found.damaged.append(str(error.but(file=Path(str(error.file)).name, fix=None)))
            found.todo = str(error.fix)
    found.todo = found.todo or _advice(run, found)
    return found


def _look_at_lock(path: Path, found: Diagnosis) -> None:
    by = lock.holder(path / LOCK)
    if by is not None:
        found.holder, found.heartbeat = str(by), lock.heartbeat_age(path / LOCK)
        found.abandoned = by.is_dead() or (by.is_elsewhere() and found.heartbeat > lock.SILENT)
    if (path / ABORT).exists():
        found.notes.append(f"{ABORT} asks the run to stop")


def _look_at_files(run: Run, found: Diagnosis) -> bool:
    """Note which of the run's own files are not what it wrote; False if that leaves nothing to go on."""
    try:
        Run.open(run.path)
        faults = run.files.faults()
    except DamagedCheckpointError as error:
        found.damaged.append(f"{Path(str(error.file)).name}: {error.problem}")
        found.todo = str(error.fix)
        return False
    found.damaged += [f"{name}: {fault}" for name, fault in faults.items()]
    found.notes += _faults_of_results(run)
    try:
        if faults.get(METRICS) is None:
            run.metrics.lines()
    except DamagedCheckpointError as error:
        found.damaged.append(f"{METRICS}: {error.problem}")
    return not any(faults.get(name) for name in (CONFIG, PROVENANCE))


def _look_at_inputs(run: Run, found: Diagnosis) -> None:
    try:
        found.inputs_changed = changes(run, where_they_are(run, Moved()))
    except OtherVersionError:
        raise
    except InputError as error:
        found.inputs_gone.append(f"{error.file}: {error.problem}")


def _look_at_checkpoints(run: Run, found: Diagnosis) -> None:
    for series in run.store.names():
        states = {path.name: run.store.fault(path) for path in run.store.series(series)}
        found.checkpoints |= states
        last, latents = states[max(states)], f"latents{series.removeprefix('half')}"
        if series.startswith("latents") and last is not None:
            found.damaged.append(f"{max(states)}: {last}")
        elif all(fault is not None for fault in states.values()):
            found.damaged.append(f"no checkpoint of {series} is whole")
        elif last is not None and latents in run.store.names():
            found.damaged.append(f"{max(states)}, the end of a training: {last}")
        elif any(fault is not None for fault in states.values()):
            found.notes.append(f"a damaged checkpoint of {series} will be passed over")


def _stage(run: Run, found: Diagnosis) -> str:
    whole = {name: run.files.has(name) and run.files.fault(name) is None for name in (FSC, LATENTS, TABLE)}
    there = {name.partition("_")[0] for name, fault in found.checkpoints.items() if fault is None}
    halves = {f"latents{half}" for half in config_of(run).trained_halves}
    if whole[FSC]:
        return "report" if _has_whole_report(run) else "reconstruct"
    if halves <= there and whole[LATENTS]:
        return "train"
    return "prepare" if whole[TABLE] else "nothing"


def _faults_of_results(run: Run) -> Iterator[str]:
    """What is wrong with results that no command reads again, and what makes each again."""
    for kind, fault in faults_below(run.path):
        again = to_resume(run.path) if kind == REPORT else "the command that made it"
        yield f"{fault}; {again} makes it again"
    listed = listed_in(run.path, REPORT).path
    if (run.path / PAGE).is_file() and not listed.is_file():
        yield f"{PAGE}: no {listed.name} says whether it is whole; {to_resume(run.path)} makes both again"


def _has_whole_report(run: Run) -> bool:
    try:
        return (run.path / PAGE).is_file() and not listed_in(run.path, REPORT).faults()
    except DamagedCheckpointError:
        return False


def _advice(run: Run, found: Diagnosis) -> str:
    if found.holder is not None and not found.abandoned:
        return f"wait: {found.holder} is at work in it (last sign of life {found.heartbeat:.0f} s ago)"
    if found.inputs_changed:
        return "put the inputs back as they were, then resume; or start another run from the new ones"
    if not found.versions or any(fault.startswith("no checkpoint") for fault in found.damaged):
        return "put copies of the damaged files back, or start another run with another -o"
    lost = [fault for fault in found.damaged if not run.is_made_again(fault.partition(":")[0])]
    if lost:
        name = lost[0].partition(":")[0]
        return f"{name}: {run.remedy(name)}"
    resume = resume_command(run)
    by = lock.holder(run.path / LOCK)
    if by is not None and by.is_elsewhere():
        return f"dynaflex doctor {run.path} --force-unlock, then {resume}"
    if found.damaged:
        return f"{resume}, which makes what is damaged again"
    return "nothing: the run is complete" if found.stage == "report" else f"resume it: {resume}"
