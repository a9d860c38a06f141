"""The inputs of a run that was started before: where they are now, and whether they are what they were."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaflex import tell
from dynaflex.errors import DamagedCheckpointError, InputError
from dynaflex.io.paths import absolute
from dynaflex.prepare.fingerprint import IMAGES, changed_images, changes
from dynaflex.prepare.paths import InputPaths
from dynaflex.results.settings import config_of, inputs_of
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.refusals import to_resume

if TYPE_CHECKING:
    from dynaflex.prepare.inputs import Inputs

_OPTIONS = {"particles": "--particles", "consensus": "--map", "mask": "--mask"}
_NEEDED = (*_OPTIONS, "half_maps")
"""Inputs that every command on a run reads; a method reads its others where it needs them."""
HOME = "run_directory"
"""Where the run was when its inputs were written down, in ``provenance.json``."""


@dataclass(frozen=True)
class Moved:
    """Where a user says that inputs are now; None where they are said to be where they were."""

    particles: Path | None = None
    consensus: Path | None = None
    mask: Path | None = None
    datadir: Path | None = None
    strip_prefix: str | None = None

    @classmethod
    def of(cls, paths: InputPaths) -> Moved:
        """All that a user has named when the run is started again with a whole command."""
        return cls(paths.particles, paths.consensus, paths.mask, paths.datadir, paths.strip_prefix)


def reopened(run: Run, moved: Moved | None = None) -> Inputs:
    """The inputs of a run, read again. Those that have ``moved`` are taken if they are the same by content.

    Those that are not where they were are looked for in the same place beside the run, so that a project can be moved
    as a whole.

    Raises:
        InputError: an input is not there any more, or cannot be read.
        DamagedCheckpointError: an input is not what it was.
    """
    from dynaflex.prepare.inputs import read_inputs

    paths = where_they_are(run, moved or Moved())
    found = changes(run, paths)
    if found:
        raise _other(run, found)
    inputs = read_inputs(paths, config_of(run))
    found, _ = changed_images(run, inputs.particles)
    if found:
        raise _other(run, found)
    return inputs


def remember(run: Run, inputs: Inputs) -> None:
    """Write down where the inputs of a run, which this process holds, are now."""
    before = run.read_json(PROVENANCE)
    # The folder that the names of images turned out to be relative to leads to them from anywhere.
    paths = replace(inputs.paths, datadir=inputs.paths.datadir or inputs.particles.image_root)
    known: dict[str, Any] = {"inputs": paths.as_dict(), HOME: str(absolute(run.path))}
    if any(before.get(name) != value for name, value in known.items()):
        then = before.get("inputs", {})
        moved = [path for name, path in known["inputs"].items() if name in _NEEDED and then.get(name, path) != path]
        if moved:
            tell.say(f"inputs were found elsewhere than before: {', '.join(map(str, moved))}")
        run.write_provenance(**known)
    _, images = changed_images(run, inputs.particles)
    if run.read_json(IMAGES).get("stacks") != images:
        run.write_json(IMAGES, {"stacks": images})


def where_they_are(run: Run, moved: Moved) -> InputPaths:
    """The paths of a run's inputs: as given, else where they were, else in the same place beside the run.

    Raises:
        InputError: one is nowhere.
    """
    provenance = run.read_json(PROVENANCE)
    before = inputs_of(run)
    home = Path(provenance.get(HOME, absolute(run.path)))
    found: dict[str, Any] = {}
    for name, path in before.named():
        there = path if path.exists() else _beside(run, home, path)
        if name in _NEEDED and getattr(moved, name, None) is None and not there.exists():
            raise _gone(run, name, path)
        if name == "datadir" and not there.exists():
            continue
        found[name] = (*found.get(name, ()), there) if name == "half_maps" else there
    found |= {field.name: value for field in fields(moved) if (value := getattr(moved, field.name)) is not None}
    return before.at(found)


def resume_command(run: Run) -> str:
    """What to type to go on with a run, with options for the inputs that cannot be found."""
    before = inputs_of(run)
    home = Path(run.read_json(PROVENANCE).get(HOME, absolute(run.path)))
    gone = [
        f"{_OPTIONS[name]} NEW_PATH"
        for name, path in before.named()
        if name in _OPTIONS and not path.exists() and not _beside(run, home, path).exists()
    ]
    return to_resume(run.path, *gone)


def _beside(run: Run, home: Path, path: Path) -> Path:
    """Where an input lies if it was moved together with the run."""
    return Path(os.path.normpath(absolute(run.path) / os.path.relpath(path, home)))


def _gone(run: Run, name: str, path: Path) -> InputError:
    option = _OPTIONS.get(name)
    fix = f"put it back, or {to_resume(run.path, option, 'NEW_PATH')}" if option else "put it back"
    return InputError(
        "run.input-gone", "an input of this run is not there any more", file=path,
        expected=f"what the run in {run.path} was started with", found="no such file",
        fix=f"{fix}; the other commands that read inputs take {option} as well" if option else fix,
    )  # fmt: skip


def _other(run: Run, found: list[str]) -> DamagedCheckpointError:
    return DamagedCheckpointError(
        "run.other-inputs", "this run was started with other inputs, perhaps with other particles", file=run.path,
        expected="the files that the run was started with, wherever they lie", found="; ".join(found),
        fix="give those with --particles, --map, --mask and --datadir, or start another run from the new ones",
    )  # fmt: skip
