"""A folder of caches, each made once by whoever needs it first, and whole or not there."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynaflex import tell
from dynaflex.cache.stored import StoredImages
from dynaflex.errors import ResourceError
from dynaflex.io import durable
from dynaflex.machine import free_disk
from dynaflex.shapes import IntArray, Tensor

_LIST, _ROWS = "cache.json", "rows.npy"
_WRITING = ".writing"
_AT_ONCE = 2**24
"""Pixels that are prepared together."""
_LOOK = 0.2

Produce = Callable[[IntArray], Mapping[str, Tensor]]
"""The images of each kind, ``(b h h)`` in half precision, of the particles at some places ``(b)`` of a plan."""


@dataclass(frozen=True, eq=False)
class CachePlan:
    """What a cache holds: images of the particles in ``rows`` ``(p)`` of the table, each at its ``place`` ``(p)``.

    Particles that have one image share a place. Images are in a box for each of several kinds of ``boxes``, the most
    needed first. Caches with equal ``key`` hold the same bytes.
    """

    key: str
    rows: IntArray
    place: IntArray
    boxes: Mapping[str, int]

    @property
    def count(self) -> int:
        """How many images there are."""
        return int(self.place.max(initial=-1)) + 1

    def size(self, kinds: Sequence[str]) -> int:
        """Bytes of some kinds of images."""
        return sum(2 * self.count * self.boxes[kind] ** 2 for kind in kinds)

    def fitting(self, room: int) -> tuple[str, ...]:
        """The kinds of images for which there are so many bytes of ``room``: all, or without the last, or none."""
        kinds = tuple(self.boxes)
        while kinds and self.size(kinds) > room:
            kinds = kinds[:-1]
        return kinds


def found(folder: Path, plan: CachePlan) -> dict[str, StoredImages]:
    """The images of each kind in the cache of a plan; none where it is not there, or not whole."""
    place = folder / plan.key
    try:
        listed = json.loads((place / _LIST).read_text())["files"]
        rows = np.load(place / _ROWS, allow_pickle=False)
        whole = all((place / name).stat().st_size == plan.size([name]) for name in listed)
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    if not whole or not np.array_equal(rows, plan.rows):
        return {}
    order = np.argsort(rows)
    return {name: StoredImages(place / name, plan.boxes[name], rows[order], plan.place[order]) for name in listed}


def made(folder: Path, plan: CachePlan, produce: Produce, reserve: int = 0) -> dict[str, StoredImages]:
    """The images of each kind in the cache of a plan, which is made unless it is there.

    Of two processes that want the same one, one makes it and the other waits. Kinds for which the disk has no room,
    beside a ``reserve`` of bytes, are left out. What processes that are gone left unfinished is removed.

    Raises:
        ResourceError: there is no room even for the most needed kind, or the disk is full before it is done.
        EnvironmentFault: the folder cannot be written.
    """
    durable.make_folder(folder)
    with _alone(folder / f"{plan.key}.lock") as is_alone:
        if is_alone:
            _remove_leftovers(folder, plan.key)
        known = found(folder, plan)
        if known:
            tell.say(f"images are read from the cache in {folder}")
            return known
        shutil.rmtree(folder / plan.key, ignore_errors=True)
        _make(folder, plan, require_room(folder, plan, reserve), produce)
    return found(folder, plan)


def require_room(folder: Path, plan: CachePlan, reserve: int = 0) -> tuple[str, ...]:
    """The kinds of images that the disk of a folder, which need not be there yet, has room for beside a ``reserve``.

    Raises:
        ResourceError: it has none for the most needed kind.
    """
    free, _ = free_disk(folder)
    kinds = tuple(plan.boxes) if free is None else plan.fitting(free - reserve)
    if free is not None and not kinds:
        need = plan.size(list(plan.boxes)[:1]) + reserve
        raise ResourceError(
            "cache.too-small", "the cache of images would not fit on its disk", file=folder,
            expected=f"{need / 1e9:.3g} GB free", found=f"{free / 1e9:.3g} GB",
            fix="--cache DIR with a folder on another disk, or --cache off to keep images in memory",
        )  # fmt: skip
    return kinds


def remove(folder: Path) -> None:
    """Remove a folder of caches, whatever is in it."""
    shutil.rmtree(folder, ignore_errors=True)


def _make(folder: Path, plan: CachePlan, kinds: tuple[str, ...], produce: Produce) -> None:
    left_out = [kind for kind in plan.boxes if kind not in kinds]
    said = " and ".join(f"{plan.boxes[kind]} pixels" for kind in kinds)
    tell.say(f"cache of {plan.count} images in boxes of {said}: {plan.size(kinds) / 1e9:.3g} GB in {folder}")
    if left_out:
        tell.say(f"there is no room for those of {plan.boxes[left_out[0]]} pixels, which are read from the stacks")
    temporary = folder / f"{plan.key}.{secrets.token_hex(4)}{_WRITING}"
    try:
        with durable.errors_of_the_disk(temporary):
            temporary.mkdir()
            _write(temporary, plan, kinds, produce)
            durable.sync_folder(temporary)
            try:
                os.rename(temporary, folder / plan.key)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                # Where locks are of no use another process may have been first; what it made is the same.
            durable.sync_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(place: Path, plan: CachePlan, kinds: tuple[str, ...], produce: Produce) -> None:
    at_once = max(2, min(256, _AT_ONCE // max(plan.boxes.values()) ** 2))
    every = np.arange(plan.count)
    with ExitStack() as stack:
        files = {kind: stack.enter_context((place / kind).open("xb", buffering=0)) for kind in kinds}
        for start in tell.each(range(0, len(every), at_once), "cache of images"):
            images = produce(every[start : start + at_once])
            for kind, file in files.items():
                _put(file.fileno(), images[kind].numpy().data.cast("B"))
        for file in files.values():
            os.fsync(file.fileno())
    with (place / _ROWS).open("xb") as stream:
        np.save(stream, plan.rows, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
    durable.write_json(place / _LIST, {"images": plan.count, "files": {kind: plan.boxes[kind] for kind in kinds}})


def _put(descriptor: int, view: memoryview) -> None:
    done = 0
    while done < len(view):
        done += os.write(descriptor, view[done:])


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold the lock ``path`` as soon as nobody else does; gives False where the file system keeps no locks."""
    with durable.errors_of_the_disk(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        waited = False
        while (held := durable.taken(descriptor)) is False:
            if not waited:
                tell.say("another process makes the same cache of images: waiting for it")
            waited = True
            time.sleep(_LOOK)
        yield held is True
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path, mine: str) -> None:
    """Remove what was left unfinished of this cache, whose lock is held, and of others that nobody works on."""
    for left in folder.glob(f"*{_WRITING}"):
        key = left.name.partition(".")[0]
        if key == mine:
            shutil.rmtree(left, ignore_errors=True)
            continue
        with durable.errors_of_the_disk(folder):
            descriptor = os.open(folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if durable.taken(descriptor):
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(descriptor)
