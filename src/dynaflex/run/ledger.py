"""The list of a run's files: what each was when the run wrote it, so that a cut, changed or foreign one is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dynaflex.errors import DamagedCheckpointError
from dynaflex.io import durable

LEDGER = "files.json"
_PENDING = "being written"
_LISTED, _UNLISTED = ("*.json", "*.jsonl", "*.npz", "*.star", "maps/*.mrc"), (LEDGER, "lock.json")


class Ledger:
    """``files.json`` of a run: the SHA-256 of every file that is read again, by its name in the run.

    The list vouches for itself. Where there is none, files are taken as they are: whether there should be one is for
    the run to know.
    """

    def __init__(self, folder: Path, name: str = LEDGER) -> None:
        self.folder = folder
        self.path = folder / name
        self._known: dict[tuple[str, int, int], str] = {}

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """The path to write a file at, which is listed as it is when this is left.

        A process that dies meanwhile leaves the old file or the new one, both whole: :meth:`settle` lists that.
        """
        before = self._entries().get(name)
        self._set(name, _PENDING)
        try:
            yield self.folder / name
        except BaseException:
            self._set(name, before)
            raise
        self._set(name, self._digest(name))

    def forget(self, name: str) -> None:
        """Remove a file, from the list too."""
        (self.folder / name).unlink(missing_ok=True)
        if name in self._entries():
            self._set(name, None)

    def claim(self, names: Iterable[str]) -> None:
        """List nothing but these files, whatever they are, until :meth:`settle` lists those that are there."""
        self._write(dict.fromkeys(names, _PENDING))

    def close(self, name: str) -> None:
        """List a file that was written bit by bit and is written no more, if it is there."""
        if (self.folder / name).is_file():
            self._set(name, self._digest(name))

    def reopen(self, name: str) -> None:
        """List a file no more that is written on."""
        if name in self._entries():
            self._set(name, None)

    def settle(self) -> None:
        """List what is there of files whose writing did not come to an end."""
        entries = self._entries()
        pending = [name for name, digest in entries.items() if digest == _PENDING]
        if pending:
            known = {name: digest for name, digest in entries.items() if digest != _PENDING}
            there = {name: self._digest(name) for name in pending if (self.folder / name).is_file()}
            self._write(known | there)

    def names(self) -> list[str]:
        """The files that are listed."""
        return sorted(self._entries())

    def has(self, name: str) -> bool:
        """True if the run has written this file, whether or not it is still there."""
        return name in self._entries() or (self.folder / name).is_file()

    def fault(self, name: str) -> str | None:
        """What is wrong with a file, in words; None if nothing is, or nothing is known about it."""
        return self._fault(name, self._entries().get(name))

    def faults(self) -> dict[str, str]:
        """What is wrong with the files that are listed, in words, by name."""
        found = {name: self._fault(name, digest) for name, digest in self._entries().items()}
        return {name: fault for name, fault in found.items() if fault is not None}

    def _fault(self, name: str, listed: str | None) -> str | None:
        if not (self.folder / name).is_file():
            return None if listed in (None, _PENDING) else "this file of the run is missing"
        if listed in (None, _PENDING):
            return None
        try:
            return None if self._digest(name) == listed else "this file is not the one that the run wrote"
        except OSError as error:
            return f"this file of the run cannot be read: {error.strerror}"

    def begin(self) -> None:
        """Start a list of what is there, whatever it is."""
        found = [path for pattern in _LISTED for path in self.folder.glob(pattern) if path.name not in _UNLISTED]
        names = [path.relative_to(self.folder).as_posix() for path in found if path.is_file()]
        self._write({name: self._digest(name) for name in names})

    def _entries(self) -> dict[str, str]:
        try:
            content = json.loads(self.path.read_bytes())
            listed, seal = dict(content["files"]), content["sha256"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise self._damaged("the list of this run's files is damaged") from error
        if _sealed(listed)["sha256"] != seal:
            raise self._damaged("the list of this run's files was changed after it was written")
        return {str(name): str(digest) for name, digest in listed.items()}

    def _set(self, name: str, digest: str | None) -> None:
        entries = self._entries()
        entries.pop(name, None)
        self._write(entries if digest is None else entries | {name: digest})

    def _write(self, entries: dict[str, str]) -> None:
        durable.write_json(self.path, _sealed(dict(sorted(entries.items()))))

    def _digest(self, name: str) -> str:
        """The SHA-256 of a file; one that has not changed since is not read again."""
        path = self.folder / name
        status = path.stat()
        key = (name, status.st_mtime_ns, status.st_size)
        if key not in self._known:
            self._known[key] = durable.sha256(path)
        return self._known[key]

    def _damaged(self, problem: str) -> DamagedCheckpointError:
        return DamagedCheckpointError(
            "run.damaged-list", problem, file=self.path, expected="the JSON that dynaflex wrote",
            fix=f"put a copy back; or, if you trust the files, dynaflex doctor {self.folder} --accept-files",
        )  # fmt: skip


def _sealed(entries: dict[str, str]) -> dict[str, Any]:
    digest = hashlib.sha256(durable.json_bytes(entries)).hexdigest()
    return {"files": entries, "sha256": digest}
