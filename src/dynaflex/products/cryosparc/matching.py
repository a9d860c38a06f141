"""The same particles in tables of RELION and cryoSPARC, by the name of the stack and the number in it.

When cryoSPARC imports stacks it links to them under names of its own, a number before the old one:
``J3/imported/004817263_stack.mrc``. A stack is never guessed: what fits two is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dynaflex.data.foreign.cs_table import places
from dynaflex.data.image_paths import cleaned
from dynaflex.errors import InputError
from dynaflex.shapes import IntArray

_NUMBER = re.compile(r"\d+_")
_ENDINGS = (".mrc", ".mrcs", ".stk")
_LARGEST_STACK = 1 << 32


def by_image(table: NDArray[np.void], images: Sequence[str], path: Path, project: Path | None) -> IntArray:
    """Where each of RELION's ``images`` ``000001@stack.mrcs`` ``(p)`` stands in cryoSPARC's ``table`` ``(n)``, -1 where
    it does not. ``path`` is the file of the table, ``project`` the folder that the names of the images are relative to.

    Raises:
        InputError: the table names no images, an image is in it twice, or a stack could be two of RELION's.
    """
    if not {"blob/path", "blob/idx"} <= set(table.dtype.names or ()):
        raise InputError(
            "cs.missing-column", "a cryoSPARC table needs this column here", file=path, field="blob/path",
            fix="give the .cs file of Import Particle Stack",
        )  # fmt: skip
    numbers = np.array([int(name.partition("@")[0]) - 1 for name in images], dtype=np.int64)
    ours, stacks = pd.factorize(np.array([name.partition("@")[2] for name in images], dtype=object))
    code, theirs = pd.factorize(np.array([_text(name) for name in table["blob/path"].tolist()], dtype=object))
    same = _same_stack(list(stacks), list(theirs), path, project)
    key = np.array([same.get(name, -1) for name in theirs], dtype=np.int64)[code] * _LARGEST_STACK
    key = np.where(key < 0, -1 - np.arange(len(key)), key + table["blob/idx"])
    wanted = ours.astype(np.int64) * _LARGEST_STACK + numbers
    for keys, file in ((key, path), (wanted, None)):
        unique, first, count = np.unique(keys, return_index=True, return_counts=True)
        if len(unique) < len(keys):
            raise InputError(
                "cs.repeated-image", "particles that share an image cannot be told apart by it",
                file=file, field="blob/idx" if file else "rlnImageName", row=int(first[count.argmax()]),
                expected="every image once", found=f"{len(keys) - len(unique)} of {len(keys)} rows repeat one",
                fix="leave one particle of each image, before symmetry expansion",
            )  # fmt: skip
    return places(wanted, key)


def _same_stack(stacks: list[str], theirs: list[str], path: Path, project: Path | None) -> dict[str, int]:
    """Which of RELION's ``stacks`` each of cryoSPARC's is, by its position."""
    by_name: dict[str, list[int]] = {}
    for position, stack in enumerate(stacks):
        by_name.setdefault(_stem(stack), []).append(position)
    found = {}
    for name in theirs:
        stem = _stem(name)
        fitting = by_name.get(stem) or by_name.get(_NUMBER.sub("", stem, count=1), [])
        if len(fitting) > 1:
            fitting = _by_file(name, fitting, stacks, path, project) or _by_folders(name, fitting, stacks)
        if len(fitting) > 1:
            raise InputError(
                "cs.ambiguous-stack", "this stack could be two of the run's",
                file=path, field="blob/path", expected="one stack of that name",
                found=f"{name}: {' or '.join(stacks[position] for position in fitting[:2])}",
                fix="leave the .cs file in its project, where the links to the stacks can be followed",
            )  # fmt: skip
        if fitting:
            found[name] = fitting[0]
    return found


def _by_file(name: str, fitting: list[int], stacks: list[str], path: Path, project: Path | None) -> list[int]:
    """Those of the stacks that are the same file on this disk."""
    file = _resolved(path.absolute().parents, name)
    return [] if file is None else [i for i in fitting if _resolved([project or Path()], stacks[i]) == file]


def _by_folders(name: str, fitting: list[int], stacks: list[str]) -> list[int]:
    """Those of the stacks that have most of the path in common, from its end."""
    common = {position: _common_tail(name, stacks[position]) for position in fitting}
    return [position for position in fitting if common[position] == max(common.values())]


def _resolved(folders: Iterable[Path], name: str) -> Path | None:
    there = (folder / name for folder in folders)
    return next((file.resolve() for file in there if file.is_file()), None)


def _common_tail(first: str, second: str) -> int:
    pairs = zip(reversed(PurePosixPath(first).parent.parts), reversed(PurePosixPath(second).parent.parts), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _stem(name: str) -> str:
    file = PurePosixPath(name)
    return file.stem if file.suffix in _ENDINGS else file.name


def _text(value: bytes | str) -> str:
    return cleaned(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
