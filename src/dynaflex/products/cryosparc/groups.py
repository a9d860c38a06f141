"""Groups of results for cryoSPARC: a table ``NAME.cs``, and ``NAME.csg`` that says what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.data.foreign.cs_table import with_columns
from dynaflex.io.foreign.cs import write_cs
from dynaflex.io.foreign.csg import ResultGroup, write_csg
from dynaflex.products.cryosparc.external_job import GROUPS, kind_of
from dynaflex.shapes import Array

COMPONENTS = "components_mode_"


def write_group(folder: Path, name: str, table: NDArray[np.void], description: str) -> None:
    """Write one of ``GROUPS`` into a folder."""
    kind, title = GROUPS[name]
    _write(folder / f"{name}.cs", name, title, kind, table, description)


def write_subset(path: Path, table: NDArray[np.void], description: str) -> None:
    """Write some particles to ``path``, and beside it the group that cryoSPARC imports them by.

    Raises:
        UsageError: there is a group of that name, and it is not ours.
    """
    _write(path, "particles", path.stem, "particle", table, description)


def with_components(table: NDArray[np.void], values: Array) -> NDArray[np.void]:
    """Particles ``(p)`` with values ``(p k)`` as cryoSPARC keeps components, in the place of those they had."""
    kept = [name for name in table.dtype.names or () if not name.startswith(COMPONENTS)]
    columns: dict[str, Any] = {}
    for k in range(values.shape[1]):
        columns[f"{COMPONENTS}{k}/component"] = np.full(len(table), k, dtype="<u4")
        columns[f"{COMPONENTS}{k}/value"] = values[:, k].astype("<f4")
    return with_columns(table[kept], columns)


def components(of: str, values: Array) -> NDArray[np.void]:
    """Values ``(f k)`` as components of particles that there are not, such as the frames of a path; ``of`` whose."""
    return with_components(_rows(of, len(values)), values)


def maps(files: Mapping[str, str], box: int, pixel_size: float) -> NDArray[np.void]:
    """The one row of a volume: the file ``files`` of each slot, all of one ``box`` and pixel size in Å."""
    columns: dict[str, NDArray[Any]] = {}
    for slot, file in files.items():
        columns[f"{slot}/path"] = np.array([f">{file}".encode()])
        columns[f"{slot}/shape"] = np.full((1, 3), box, dtype="<u4")
        columns[f"{slot}/psize_A"] = np.array([pixel_size], dtype="<f4")
    return with_columns(_rows("".join(files.values()), 1), columns)


def _write(path: Path, name: str, title: str, kind: str, table: NDArray[np.void], description: str) -> None:
    """The group comes first, because it may be refused."""
    slots = {slot: kind_of(kind, slot) for slot in _slots(table)}
    write_csg(path.with_suffix(".csg"), ResultGroup(name, title, kind, description, path.name, len(table), slots))
    write_cs(path, table)


def _rows(of: str, count: int) -> NDArray[np.void]:
    """Rows with nothing but a uid of their own."""
    rows = np.zeros(count, dtype=[("uid", "<u8")])
    digests = [hashlib.sha256(f"{of}:{number}".encode()).digest() for number in range(count)]
    rows["uid"] = [int.from_bytes(digest[:8], "little") for digest in digests]
    return rows


def _slots(table: NDArray[np.void]) -> set[str]:
    """The names before the slash."""
    return {name.partition("/")[0] for name in table.dtype.names or () if "/" in name}
