"""Where image files may lie: in a folder the user gives, in the table's own project, or where the command is typed.

A file is never guessed: a name that leads to two files is refused, and so are two shortened names that lead to one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from dynaflex.errors import InputError
from dynaflex.io.paths import absolute

_SHOWN = 3
# What lies in the root of a project, to which names are relative: of RELION, then of cryoSPARC, whose jobs do too.
_ROOT_FILES = ("default_pipeline.star", ".relion_lock", "cs.lock", "project.json")
_JOB_FOLDER = re.compile(r"J\d+")


def cleaned(name: str) -> str:
    """A path as it is meant: cryoSPARC marks those relative to its project with ``>``."""
    return name.strip().removeprefix(">")


def find_files(
    table: Path, names: list[str], first_row: list[int], datadir: Path | None, strip_prefix: str | None = None
) -> tuple[list[Path], Path | None]:
    """The files that a particle table names, in the order of ``names``; ``first_row`` says where each is used first.

    Beside them the folder that all names are relative to, which as ``datadir`` leads to the same files from anywhere;
    None where there is no such folder.

    ``datadir`` wins: a name is looked for there whole, then with leading folders left out, most of the path first.
    Else it is looked for in the folder of the table and those above it up to the root of its project, since RELION and
    cryoSPARC write names relative to that, and in the working directory; last beside the table with leading folders
    left out. ``strip_prefix`` is dropped from the beginning of names before anything is looked for.

    Raises:
        InputError: files that are not there, links that lead nowhere, a name that leads to two different files, names
            that lead to one, or no name that begins with ``strip_prefix``.
    """
    search = _Search(table, datadir)
    names = names if strip_prefix is None else _without_prefix(table, names, strip_prefix)
    found: dict[str, Path] = {}
    missing: list[int] = []
    for i, name in enumerate(names):
        path = search.file(name, first_row[i])
        if path is None:
            missing.append(i)
        else:
            found[name] = path
    if missing:
        raise _missing(search, [names[i] for i in missing], len(names), first_row[missing[0]])
    _refuse_shared(table, names, first_row, found)
    roots = {_root_of(name, path) for name, path in found.items()}
    return [found[name] for name in names], roots.pop() if len(roots) == 1 else None


def find_file(table: Path, name: str, datadir: Path | None) -> Path | None:
    """A file that a table names beside images, looked for where these are; None where it is not there.

    Raises:
        InputError: two different files may be meant.
    """
    return _Search(table, datadir).file(cleaned(name), 0)


@dataclass(frozen=True)
class _Search:
    table: Path
    datadir: Path | None
    # For each folder that names begin with, the roots that hold it: most names of a table share a few.
    _roots_with: dict[PurePosixPath, list[Path]] = field(default_factory=dict)

    @cached_property
    def roots(self) -> list[Path]:
        """The folders that a whole name is looked for in, but for the user's own: the table's project first."""
        above = [*_project(absolute(self.table)), *_project(self.table.resolve()), Path.cwd()]
        return list(dict.fromkeys(above))

    def file(self, name: str, row: int) -> Path | None:
        """The file that a name means, or None.

        Raises:
            InputError: there are two.
        """
        if self.datadir is not None:
            given = _first(absolute(self.datadir), name, 0)
            if given is not None:
                return given
        there = self._whole(name)
        if len(there) > 1 and not all(path.samefile(there[0]) for path in there[1:]):
            raise _ambiguous(self.table, name, row, there)
        return there[0] if there else _first(absolute(self.table).parent, name, 1)

    def _whole(self, name: str) -> list[Path]:
        """All files of that name, each once."""
        folder = PurePosixPath(name).parent
        if folder not in self._roots_with:
            self._roots_with[folder] = [root for root in self.roots if os.path.isdir(root / folder)]
        return list(dict.fromkeys(path for root in self._roots_with[folder] if os.path.isfile(path := root / name)))

    def broken_link(self, name: str) -> Path | None:
        """A link in the way to the file that leads nowhere, or in a circle."""
        for root in self.roots if self.datadir is None else [self.datadir, *self.roots]:
            path = Path(root, name)
            for part in (path, *path.parents):
                if part.is_symlink() and not part.exists():
                    return part
        return None


def _project(table: Path) -> Iterator[Path]:
    """The folders above a table, the nearest first, up to the root of its project; all where nothing shows it."""
    for folder in table.parents:
        yield folder
        if any(os.path.exists(folder / name) for name in _ROOT_FILES):
            return
        if any(_JOB_FOLDER.fullmatch(inner.name) for inner in _folders(folder)):
            return


def _first(folder: Path, name: str, start: int) -> Path | None:
    """The file in a folder with the most of a name's path, the first ``start`` parts of it and its root left out."""
    parts = PurePosixPath(name).parts
    for first in range(max(start, int(PurePosixPath(name).is_absolute())), len(parts)):
        path = folder.joinpath(*parts[first:])
        if os.path.isfile(path):
            return path
    return None


def _root_of(name: str, path: Path) -> Path | None:
    parts = PurePosixPath(name).parts
    whole = not PurePosixPath(name).is_absolute() and path.parts[-len(parts) :] == parts
    return path.parents[len(parts) - 1] if whole else None


def _without_prefix(table: Path, names: list[str], prefix: str) -> list[str]:
    if not any(name.startswith(prefix) for name in names):
        raise InputError(
            "particles.strip-prefix", "no image name begins with this prefix",
            file=table, field="rlnImageName", row=0, expected=f"{prefix}…", found=names[0],
            fix="give --strip-prefix as the names have it, or leave it out",
        )  # fmt: skip
    return [name.removeprefix(prefix).lstrip("/") if name.startswith(prefix) else name for name in names]


def _ambiguous(table: Path, name: str, row: int, there: list[Path]) -> InputError:
    roots = [_root_of(name, path) for path in there]
    return InputError(
        "particles.ambiguous-images", f"{len(there)} different files may be meant by {name}",
        file=table, field="rlnImageName", row=row, expected="one file", found=" and ".join(map(str, there)),
        fix=f"give the folder of the right one: {' or '.join(f'--datadir {root}' for root in roots)}",
    )  # fmt: skip


def _missing(search: _Search, names: list[str], n_names: int, row: int) -> InputError:
    shown = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
    link = search.broken_link(names[0])
    if link is not None:
        return InputError(
            "particles.broken-link",
            f"{len(names)} of {n_names} image files are missing: {shown}",
            file=search.table, field="rlnImageName", row=row,
            found=f"the link {link} leads to {os.readlink(link)}, which is not there",
            fix="mount the disk it leads to, or correct the link",
        )  # fmt: skip
    given = [] if search.datadir is None else [str(search.datadir)]
    tried = ", ".join([*given, *(str(root) for root in search.roots if root != Path.cwd()), "the working directory"])
    root = _project_above(search.table, names[0])
    return InputError(
        "particles.missing-images",
        f"{len(names)} of {n_names} image files not found: {shown}",
        file=search.table, field="rlnImageName", row=row,
        expected=f"them in one of: {tried}",
        fix=f"run from the project folder, or give --datadir{'' if root is None else f' {root}'}",
    )  # fmt: skip


def _project_above(table: Path, name: str) -> Path | None:
    """A folder beside one of the folders above the table that holds the file under its whole name."""
    for above in list(absolute(table).parents)[:4]:
        for folder in _folders(above):
            if folder.joinpath(name).is_file():
                return folder
    return None


def _folders(above: Path) -> Iterator[Path]:
    try:
        with os.scandir(above) as entries:
            yield from sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return


def _refuse_shared(table: Path, names: list[str], first_row: list[int], found: dict[str, Path]) -> None:
    """Different names for one file are all right if they are its whole path, not if something was left out."""
    whole = {name for name in names if str(found[name]).endswith(str(PurePosixPath(name)))}
    owner: dict[Path, str] = {}
    for i, name in enumerate(names):
        other = owner.setdefault(found[name].resolve(), name)
        if other != name and not {name, other} <= whole:
            raise InputError(
                "particles.ambiguous-images",
                f"two names lead to the file {found[name]}",
                file=table, field="rlnImageName", row=first_row[i],
                expected="a file for each name", found=f"{other} and {name}",
                fix="give a --datadir in which the whole paths exist",
            )  # fmt: skip
