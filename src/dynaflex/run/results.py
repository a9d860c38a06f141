"""Folders of results that a user names: replaced whole, and nothing in them that is not ours is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynaflex.errors import DamagedCheckpointError, UsageError
from dynaflex.io import durable
from dynaflex.run.ledger import Ledger

REPORT = "report"
"""The kind of results that a run's report is, with the figures beside it."""
_PREFIX = ".dynaflex-"


def listed_in(folder: Path, kind: str) -> Ledger:
    """The list of the files of a ``kind`` of results in a folder, such as ``volumes``, as they were written."""
    return Ledger(folder, f"{_PREFIX}{kind}.json")


def faults_below(folder: Path) -> Iterator[tuple[str, str]]:
    """Which results anywhere below a folder are not as they were written: the kind of each, and its fault in words."""
    for path in sorted(folder.rglob(f"{_PREFIX}*.json")):
        listed = Ledger(path.parent, path.name)
        try:
            found = {path.parent / name: fault for name, fault in listed.faults().items()}
        except DamagedCheckpointError as error:
            found = {path: error.problem}
        kind = path.stem.removeprefix(_PREFIX)
        yield from ((kind, f"{name.relative_to(folder)}: {fault}, says {path.name}") for name, fault in found.items())


@contextmanager
def replaced(folder: Path, kind: str) -> Iterator[Path]:
    """A folder to write results into. When they are whole they take the place of all of that ``kind`` in ``folder``.

    Until then what was there stays, and so does whatever we did not write or somebody has changed since.

    Raises:
        UsageError: one of the results would take the place of such a file.
        ResourceError, EnvironmentFault: the folder cannot be written to.
    """
    staging, was_there = folder / f"{_PREFIX}{kind}.writing", folder.is_dir()
    # What a process that died has left goes first.
    shutil.rmtree(staging, ignore_errors=True)
    durable.make_folder(folder)
    durable.make_folder(staging)
    try:
        yield staging
        with durable.errors_of_the_disk(folder):
            _take_the_place(staging, folder, listed_in(folder, kind))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if not was_there and not any(folder.iterdir()):
            folder.rmdir()


def _take_the_place(staging: Path, folder: Path, listed: Ledger) -> None:
    new = sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file())
    faults = listed.faults()
    former = [name for name in listed.names() if (folder / name).is_file() and name not in faults]
    for name in new:
        if name not in former and os.path.lexists(folder / name):
            raise UsageError(
                "output.not-ours", "this file would be replaced, and is not one that the command wrote before",
                file=folder / name, fix="choose another -o, or move the file away",
            )  # fmt: skip
    listed.claim({*former, *new})
    for name in former:
        if name not in new:
            (folder / name).unlink()
    for name in new:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, folder / name)
    _without_empty_folders(folder, former)
    durable.sync_folder(folder)
    listed.settle()


def _without_empty_folders(folder: Path, former: list[str]) -> None:
    """Remove the folders that held nothing but former results."""
    parents = {parent for name in former for parent in (folder / name).parents if parent.is_relative_to(folder)}
    for parent in sorted(parents - {folder}, reverse=True):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
