"""A cryoSPARC table joined, by ``uid``, to the columns that lie in the passthrough files beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io.foreign.cs import read_cs
from dynaflex.shapes import Array, IntArray

UID = "cryosparcUid"
"""The column that has the uid in a STAR table made of cryoSPARC's."""
_NEEDED = ("blob", "ctf")
_POSES = re.compile(r"alignments3D|alignments3D_multi|alignments_class_\d+")
_CLASS = re.compile(r"alignments_class_(\d+)/class_posterior")


@dataclass(frozen=True)
class CsTable:
    """The columns of all files of one set of particles, ``(p)``, in the order of ``rows``, the file that was named."""

    path: Path
    rows: NDArray[np.void]
    columns: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def groups(self) -> list[str]:
        """The names before the slash."""
        return list(dict.fromkeys(name.partition("/")[0] for name in self.columns if "/" in name))

    def numbers(
        self, name: str, class_number: int | None = None, *, default: float | None = None, width: int | None = None
    ) -> Array:
        """A column as float64 ``(p)``, or ``(p width)``; ``default`` everywhere where there is none.

        A column that holds one value per class gives that of ``class_number``.

        Raises:
            InputError: there is no such column and no default, or it has another shape.
        """
        if name not in self.columns:
            if default is None:
                raise InputError(
                    "cs.missing-column", "a cryoSPARC table needs this column here",
                    file=self.path, field=name, found=", ".join(self.groups()),
                    fix="put the passthrough file of the same job beside it",
                )  # fmt: skip
            return np.full((len(self),) if width is None else (len(self), width), default)
        values = self.columns[name]
        shape = (len(self),) if width is None else (len(self), width)
        if name.startswith("alignments3D_multi/") and values.ndim == len(shape) + 1 and class_number is not None:
            values = values[:, class_number]
        if values.shape != shape or values.dtype.kind not in "biuf":
            raise self._shape(name, f"numbers of shape {shape}")
        numbers: Array = values.astype(np.float64)
        return numbers

    def text(self, name: str) -> list[str]:
        """A column as strings.

        Raises:
            InputError: there is no such column, or it holds no text.
        """
        if name not in self.columns:
            self.numbers(name)
        if self.columns[name].shape != (len(self),) or self.columns[name].dtype.kind not in "SU":
            raise self._shape(name, f"text of shape {(len(self),)}")
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                for value in self.columns[name].tolist()]  # fmt: skip

    def records(self) -> NDArray[np.void]:
        """All columns as one table ``(p)``: those of the file that was named as they stand there, then those joined."""
        own = self.rows.dtype.names or ()
        joined = [name for name in self.columns if name not in own]
        if not joined:
            return self.rows
        return with_columns(self.rows, {name: self.columns[name] for name in joined})

    def _shape(self, name: str, expected: str) -> InputError:
        found = self.columns[name]
        return InputError(
            "cs.column-shape", "this column does not hold what its name says",
            file=self.path, field=name, expected=expected, found=f"{found.dtype} of shape {found.shape}",
            fix="give the .cs file as cryoSPARC wrote it",
        )  # fmt: skip

    def class_posteriors(self) -> Array | None:
        """The probability of every class ``(p k)``, or None where the particles were not aligned to classes."""
        numbered = sorted((int(match[1]), name) for name in self.columns if (match := _CLASS.fullmatch(name)))
        if numbered and [k for k, _ in numbered] == list(range(len(numbered))):
            return np.stack([self.numbers(name) for _, name in numbered], axis=1)
        several = self.columns.get("alignments3D_multi/class_posterior")
        return None if several is None or several.ndim != 2 else several.astype(np.float64)


def with_columns(rows: NDArray[np.void], columns: Mapping[str, NDArray[Any]]) -> NDArray[np.void]:
    """A table ``(p)`` with further ``columns`` ``(p ...)`` behind its own, or in the place of those of their names."""
    every = {name: rows[name] for name in rows.dtype.names or ()} | dict(columns)
    dtype: list[Any] = [(name, values.dtype, values.shape[1:]) for name, values in every.items()]
    whole = np.zeros(len(rows), dtype=dtype)
    for name, values in every.items():
        whole[name] = values
    return whole


def read_joined(path: Path) -> CsTable:
    """Read a ``.cs`` file, and take the columns it lacks from passthrough files beside it.

    Those of its own job are always joined, those of others as long as something that is needed lacks.

    Raises:
        InputError: a file is damaged, a uid occurs twice, or columns that are needed are nowhere.
    """
    table, unmatched = _joined(path)
    missing = _lacks(table)
    if missing:
        raise InputError(
            "cs.missing-group", f"this table has no {' and no '.join(missing)} columns",
            file=path, field=f"{missing[0]}/*", expected="blob, ctf and alignments3D",
            found=f"{', '.join(table.groups())}{''.join('; ' + reason for reason in unmatched)}",
            fix="put the passthrough file of the same job (*_passthrough_particles.cs) beside it",
        )  # fmt: skip
    return table


def read_records(path: Path) -> NDArray[np.void]:
    """All columns of a ``.cs`` file and of the passthrough files beside it ``(p)``, whichever there are.

    Raises:
        InputError: a file is damaged, or a uid occurs twice.
    """
    return _joined(path)[0].records()


def _joined(path: Path) -> tuple[CsTable, list[str]]:
    """The table, and why passthrough files beside it were not joined, in words."""
    rows = read_cs(path)
    if not len(rows):
        raise InputError("cs.no-particles", f"this table has {len(rows.dtype.names or ())} columns and no rows",
                         file=path, fix="give the particles of a job that kept some")  # fmt: skip
    uid = rows["uid"]
    _refuse_repeats(path, uid)
    columns = {name: rows[name] for name in rows.dtype.names or () if name != "uid"}
    table = CsTable(path, rows, columns)
    unmatched: list[str] = []
    for beside in sorted(path.parent.glob("*passthrough*.cs")):
        if beside == path or not (_of_the_same_job(path, beside) or _lacks(table)):
            continue
        other = read_cs(beside)
        found = places(uid, other["uid"])
        if (found < 0).any():
            unmatched.append(f"{beside.name} lacks {int((found < 0).sum())} of {len(uid)} uids")
            continue
        _refuse_repeats(beside, other["uid"])
        for name in other.dtype.names or ():
            if name != "uid" and name not in columns:
                columns[name] = other[name][found]
    return table, unmatched


def _of_the_same_job(path: Path, passthrough: Path) -> bool:
    """Whether two names begin alike, as ``P12_J24_003_particles.cs`` and ``P12_J24_passthrough_particles.cs`` do."""
    job = passthrough.name.partition("passthrough")[0]
    return bool(job) and path.name.startswith(job)


def _lacks(table: CsTable) -> list[str]:
    """The groups of columns that are needed and not there."""
    groups = table.groups()
    missing = [name for name in _NEEDED if name not in groups]
    return missing if any(_POSES.fullmatch(name) for name in groups) else [*missing, "alignments3D"]


def places(wanted: NDArray[Any], uid: NDArray[Any]) -> IntArray:
    """Where each of the uids ``wanted`` ``(p)`` stands in ``uid`` ``(n)``, -1 where it does not."""
    if not len(uid):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(uid, kind="stable")
    place = order[np.searchsorted(uid[order], wanted).clip(max=len(uid) - 1)]
    found: IntArray = np.where(uid[place] == wanted, place, -1)
    return found


def _refuse_repeats(path: Path, uid: NDArray[Any]) -> None:
    unique, first, count = np.unique(uid, return_index=True, return_counts=True)
    if len(unique) < len(uid):
        twice = int(count.argmax())
        raise InputError(
            "cs.repeated-uid", "a uid stands for one particle",
            file=path, field="uid", row=int(first[twice]), expected="every uid once",
            found=f"{len(uid) - len(unique)} of {len(uid)} rows repeat one",
            fix="in cryoSPARC, join particles with Particle Sets Tool, or remove duplicates",
        )  # fmt: skip
