"""Where image files may lie: as named, in the project, in a folder the user gives, or there with a shorter path.

A file is never guessed: two names that would lead to one file, or a shortened name that leads to two, are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dynaflex.errors import InputError

_SHOWN = 3


def cleaned(name: str) -> str:
    """A path as it is meant: cryoSPARC marks those relative to its project with ``>``."""
    return name.strip().removeprefix(">")


def find_files(table: Path, names: list[str], first_row: list[int], datadir: Path | None) -> list[Path]:
    """The files that a particle table names, in the order of ``names``; ``first_row`` says where each is used first.

    Looked for as written, in ``datadir``, and in the folder of the table and every folder above it, since RELION and
    cryoSPARC write names relative to the project; then in ``datadir`` and beside the table with leading folders left
    out, most of the path first.

    Raises:
        InputError: files that are not there, links that lead nowhere, or names that lead to more than one file.
    """
    search = _Search(table, datadir)
    found: dict[str, Path] = {}
    missing: list[int] = []
    for i, name in enumerate(names):
        path = search.whole(name) or search.shortened(name, first_row[i])
        if path is None:
            missing.append(i)
        else:
            found[name] = path
    if missing:
        raise _missing(search, [names[i] for i in missing], len(names), first_row[missing[0]])
    _refuse_shared(table, names, first_row, found)
    return [found[name] for name in names]


@dataclass(frozen=True)
class _Search:
    table: Path
    datadir: Path | None

    def roots(self) -> list[str]:
        """The folders that a whole name is looked for in, the working directory first."""
        data = [] if self.datadir is None else [str(self.datadir)]
        return ["", *data, *(str(folder) for folder in self.table.absolute().parents)]

    def whole(self, name: str) -> Path | None:
        return next((path for root in self.roots() if os.path.isfile(path := Path(root, name))), None)

    def shortened(self, name: str, row: int) -> Path | None:
        parts = PurePosixPath(name).parts
        folders = [*([] if self.datadir is None else [self.datadir]), self.table.absolute().parent]
        for start in range(1, len(parts)):
            candidates = [folder.joinpath(*parts[start:]) for folder in folders]
            there = list({path.resolve(): path for path in candidates if path.is_file()}.values())
            if len(there) > 1:
                raise InputError(
                    "particles.ambiguous-images",
                    f"two files may be meant by {name}",
                    file=self.table, field="rlnImageName", row=row,
                    expected="one file", found=" and ".join(map(str, there)),
                    fix="give a --datadir in which the whole path exists",
                )  # fmt: skip
            if there:
                return there[0]
        return None

    def broken_link(self, name: str) -> Path | None:
        """A link in the way to the file that leads nowhere, or in a circle."""
        for root in self.roots():
            path = Path(root, name)
            for part in (path, *path.parents):
                if part.is_symlink() and not part.exists():
                    return part
        return None


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
    tried = ", ".join(root or "the working directory" for root in search.roots())
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
    for above in list(table.absolute().parents)[:4]:
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
