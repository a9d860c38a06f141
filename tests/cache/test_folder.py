"""Laws of a folder of caches: a cache is whole or not there, however many make it and however they end."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
from collections import namedtuple
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cache.conftest import told
from dynaflex.cache import folder as caches
from dynaflex.cache.folder import CachePlan, found, made
from dynaflex.errors import DynaflexError, EnvironmentFault, ResourceError
from dynaflex.shapes import IntArray, Tensor

Usage = namedtuple("Usage", "total used free")
# A process that is forked has no threads of OpenMP, and would wait for them.
ALONE = multiprocessing.get_context("spawn")


def is_right(folder: Path, plan: CachePlan) -> bool:
    """Whether the cache is there, and every image the one that was told, asked for in another order."""
    images, rows = found(folder, plan), np.random.default_rng(0).permutation(plan.rows)
    place = torch.from_numpy(len(plan.rows) - 1 - rows).half()
    return images.keys() == {"train", "full"} and all(
        torch.equal(images[kind].read(rows), (sign * place)[:, None, None].expand(-1, box, box))
        for kind, box, sign in (("train", 8, 1), ("full", 16, -1))
    )


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_it_is_made_once_and_holds_what_was_told(tmp_path: Path, plan: CachePlan) -> None:
    made(tmp_path, plan, told)
    assert is_right(tmp_path, plan) and left(tmp_path) == {"key", "key.lock"}

    def never(_places: IntArray) -> dict[str, Tensor]:
        raise AssertionError("made twice")

    assert made(tmp_path, plan, never).keys() == {"train", "full"}


def killed(places: IntArray) -> dict[str, Tensor]:
    if places[0] > 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return told(places)


def test_a_process_that_is_killed_leaves_nothing_that_is_believed(tmp_path: Path, plan: CachePlan) -> None:
    process = ALONE.Process(target=made, args=(tmp_path, plan, killed))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (half,) = tmp_path.glob("*.writing")
    assert (half / "train").stat().st_size > 0 and not found(tmp_path, plan)
    made(tmp_path, CachePlan("other", plan.rows, plan.place, plan.boxes), told)
    assert left(tmp_path) == {"key.lock", "other", "other.lock"}
    made(tmp_path, plan, told)
    assert is_right(tmp_path, plan)


def make_with_another(folder: Path, plan: CachePlan, locks: bool, both: Barrier, pieces: Any) -> None:
    def counted(places: IntArray) -> dict[str, Tensor]:
        with pieces.get_lock():
            pieces.value += 1
        if not locks and places[-1] == plan.count - 1:
            both.wait(60)
        return told(places)

    both.wait(60)
    if not locks:
        fcntl.flock = unsupported
    made(folder, plan, counted)


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_at_once_come_to_one_cache(tmp_path: Path, plan: CachePlan, locks: bool) -> None:
    both, pieces = ALONE.Barrier(2), ALONE.Value("i", 0)
    processes = [ALONE.Process(target=make_with_another, args=(tmp_path, plan, locks, both, pieces)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert pieces.value == (3 if locks else 6)
    assert is_right(tmp_path, plan) and left(tmp_path) == {"key", "key.lock"}


def unsupported(*_given: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, ResourceError), (errno.EIO, EnvironmentFault)])
def test_a_disk_that_fails_in_the_middle_leaves_nothing(
    tmp_path: Path, plan: CachePlan, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[DynaflexError]
) -> None:
    write, written = os.write, []

    def failing(descriptor: int, data: Any) -> int:
        written.append(len(data))
        if len(written) > 3:
            raise OSError(number, os.strerror(number))
        return write(descriptor, data)

    with monkeypatch.context() as context:
        context.setattr(caches.os, "write", failing)
        with pytest.raises(kind):
            made(tmp_path, plan, told)
    assert left(tmp_path) == {"key.lock"}
    made(tmp_path, plan, told)
    assert is_right(tmp_path, plan)


@pytest.mark.parametrize(("part", "kinds"), [(1.0, ["train", "full"]), (0.9, ["train"]), (0.1, [])])
def test_what_the_disk_has_no_room_for_is_left_out_or_refused(
    tmp_path: Path, plan: CachePlan, monkeypatch: pytest.MonkeyPatch, part: float, kinds: list[str]
) -> None:
    free = int(part * plan.size(["train", "full"])) + 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2 * free, free, free))
    if kinds:
        assert list(made(tmp_path / "new", plan, told, reserve=1000)) == kinds
        return
    with pytest.raises(ResourceError) as caught:
        made(tmp_path / "new", plan, told, reserve=1000)
    assert caught.value.identifier == "cache.too-small"
    assert left(tmp_path / "new") == {"key.lock"}


@pytest.mark.parametrize("spoil", ["train", "full", "rows.npy", "cache.json"])
def test_one_that_is_damaged_is_made_again(tmp_path: Path, plan: CachePlan, spoil: str) -> None:
    made(tmp_path, plan, told)
    os.truncate(tmp_path / "key" / spoil, 20)
    assert not found(tmp_path, plan)
    made(tmp_path, plan, told)
    assert is_right(tmp_path, plan)


def test_one_that_is_taken_away_is_missed_with_a_remedy(tmp_path: Path, plan: CachePlan) -> None:
    images = made(tmp_path, plan, told)["train"]
    os.truncate(images.path, images.size)
    with pytest.raises(ResourceError, match="shorter"):
        images.read(plan.rows[-1:] * 0)
    caches.remove(tmp_path)
    images.expect(plan.rows)
    with pytest.raises(ResourceError, match="dynaflex resume") as caught:
        images.read(plan.rows[:1])
    assert caught.value.identifier == "cache.gone"
