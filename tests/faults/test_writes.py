"""Every call by which a file is written, failing in turn: what was there before is whole each time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from dynaflex.errors import DynaflexError
from dynaflex.io import durable
from dynaflex.io.mrc import read_map, write_map
from dynaflex.io.star import read_star, write_star
from dynaflex.run.store import CheckpointStore, Place

CALLS = ("fsync", "replace", "rename", "mkdir")
KILLED = 137


@dataclass
class Failing:
    """The calls that write, counted; from the ``k``-th on, or that one only, they end with an error or the process."""

    k: int
    number: int | None
    for_good: bool
    count: int = 0
    failed: bool = field(default=False)

    def call(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        self.count += 1
        if self.count == self.k or (self.for_good and self.count > self.k):
            self.failed = True
            if self.number is None:
                os._exit(KILLED)
            raise OSError(self.number, os.strerror(self.number), *given[:1] if isinstance(given[0], str) else ())
        return function(*given, **named)

    def open(self, path: Any, mode: str = "r", **rest: Any) -> Any:
        stream = self.call(open, path, mode, **rest)
        if mode != "xb":
            return stream
        write = stream.write
        return _Stream(stream, lambda content: self.call(write, content))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with patch.object(durable, "open", self.open, create=True):
            patches = [patch.object(os, name, self._watching(getattr(os, name))) for name in CALLS]
            for each in patches:
                each.start()
            try:
                yield
            finally:
                for each in patches:
                    each.stop()

    def _watching(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: self.call(function, *given, **named)


class _Stream:
    """A file that is written to through ``write``."""

    def __init__(self, stream: Any, write: Callable[[bytes], int]) -> None:
        self._stream = stream
        self.write = write

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@dataclass(frozen=True)
class Write:
    """Something written as version 1, 2, …, and which version a reader then finds."""

    write: Callable[[int], None]
    read: Callable[[], int]


def checkpoint(folder: Path, *, same_place: bool) -> Write:
    store = CheckpointStore(folder, "particles")

    def write(version: int) -> None:
        store.save(
            "half1", Place(7 if same_place else version), {"x": torch.full((50,), version)}, {"version": version}
        )

    def read() -> int:
        durable.remove_leftovers(folder)
        tensors, state = store.read(next(store.newest("half1")))
        assert bool((tensors["x"] == state["version"]).all())
        return int(state["version"])

    return Write(write, read)


def volume(folder: Path) -> Write:
    def read() -> int:
        data = read_map(folder / "map.mrc").data
        assert (data == data[0, 0, 0]).all()
        return int(data[0, 0, 0])

    def write(version: int) -> None:
        write_map(folder / "map.mrc", np.full((8, 8, 8), version, dtype=np.float32), 1.0)

    return Write(write, read)


def table(folder: Path, example: Path) -> Write:
    star = read_star(example)

    def write(version: int) -> None:
        star.blocks["particles"]["version"] = str(version)
        write_star(star, folder / "table.star")

    def read() -> int:
        found = read_star(folder / "table.star").blocks["particles"]
        assert len(found) == len(star.blocks["particles"]) and found["version"].nunique() == 1
        return int(found["version"].iloc[0])

    return Write(write, read)


@pytest.fixture(params=["checkpoint", "checkpoint again", "map", "table"])
def written(request: pytest.FixtureRequest, tmp_path: Path, few: Path) -> Write:
    """Something of which version 1 is there."""
    made = {
        "checkpoint": lambda: checkpoint(tmp_path, same_place=False),
        "checkpoint again": lambda: checkpoint(tmp_path, same_place=True),
        "map": lambda: volume(tmp_path),
        "table": lambda: table(tmp_path, few / "particles.star"),
    }[request.param]()
    made.write(1)
    return made


@pytest.mark.parametrize("for_good", [True, False])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_whichever_call_fails_the_version_before_is_whole(
    written: Write, tmp_path: Path, number: int, for_good: bool
) -> None:
    k, version, failed = 0, 1, True
    while failed:
        k += 1
        failing = Failing(k, number, for_good)
        error = raised_by(failing, lambda next=version + 1: written.write(next))
        failed = failing.failed
        if error is not None:
            assert os.strerror(number) in str(error) and str(tmp_path) in str(error)
            assert error.exit_code == (5 if number in (errno.ENOSPC, errno.EDQUOT) else 4)
            # After the rename the new version is in place, whatever becomes of the folder's own sync.
            assert written.read() in (version, version + 1)
            assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".writing", ".old"))]
        else:
            assert written.read() == version + 1
        version = written.read()
    assert k >= 5, "the calls were not watched"


def raised_by(failing: Failing, write: Callable[[], None]) -> DynaflexError | None:
    """The error that a write under failing calls ends with, if it does."""
    try:
        with failing.at_work():
            write()
    except DynaflexError as error:
        return error
    return None


def test_wherever_the_process_dies_a_whole_version_is_there(written: Write) -> None:
    k, version, died = 0, 1, True
    while died:
        k += 1
        child = os.fork()
        if child == 0:
            with Failing(k, None, True).at_work():
                written.write(version + 1)
            os._exit(0)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
        assert written.read() in ((version, version + 1) if died else (version + 1,))
        version = written.read()
    assert k >= 5
