"""cryoSPARC's tables (.cs): one NumPy array of records. No Python object in a file is ever made.

A pickle hidden in an array would run when numpy is allowed to load it, so the header is read and judged before the
rows; numpy's own message, which advises to allow pickles, is never shown.
"""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io import durable
from dynaflex.io.magic import HEAD_SIZE, describe

_MAGIC, _STREAM = b"\x93NUMPY", b"\x95CSDAT"
_MALFORMED = (KeyError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError, TokenError)
_LONGEST_HEADER = 2**17
_SAVE_AGAIN = "copy the file again, or export the particles from cryoSPARC again"


def looks_like_cs(path: Path) -> bool:
    """Whether a file is to be read as a cryoSPARC table: by its name, or by its first bytes."""
    if path.suffix in (".cs", ".csl", ".csg"):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) in (_MAGIC, _STREAM)
    except OSError:
        return False


def read_cs(path: Path | str) -> NDArray[np.void]:
    """The rows of a cryoSPARC table, ``(p)``, with the names and types of the file.

    Raises:
        InputError: there is no such file, it is no table, it is cut, or it holds Python objects.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_SIZE)
            stream.seek(0)
            if not head.startswith(_MAGIC):
                raise _not_cs(path, head)
            dtype, n_rows = _header(path, stream)
            present = (path.stat().st_size - stream.tell()) // dtype.itemsize
            if present < n_rows:
                raise InputError(
                    "cs.truncated", "this table is cut",
                    file=path, expected=f"{n_rows} rows", found=f"{present} rows", fix=_SAVE_AGAIN,
                )  # fmt: skip
            return np.fromfile(stream, dtype, n_rows)
    except OSError as error:
        raise InputError(
            "cs.missing", error.strerror or "cannot read this file", file=path, fix="check the path"
        ) from error


def write_cs(path: Path | str, rows: NDArray[np.void]) -> None:
    """Replace the file at ``path`` by a table ``(p)`` in NumPy's format, which every version of cryoSPARC reads.

    Every name, type and bit is kept. Errors as :func:`dynaflex.io.durable.write_stream`.
    """

    def write(stream: BinaryIO) -> None:
        np.save(stream, rows, allow_pickle=False)

    durable.write_stream(path, write)


def _not_cs(path: Path, head: bytes) -> InputError:
    """Another file, or one of cryoSPARC's in another form: what makes a table of it."""
    if head.startswith(_STREAM):
        numpy_table = path.with_name(f"{path.stem}_numpy.cs")
        return InputError(
            "cs.stream", "this table is a CSDAT stream, which is not read here",
            file=path, expected="a .cs file in NumPy's format", found=describe(head),
            fix="convert it in Python with cryosparc-tools: from cryosparc.dataset import Dataset; "
            f"Dataset.load({str(path)!r}).save({str(numpy_table)!r}, format=1)",
        )  # fmt: skip
    return InputError(
        "cs.not-cs", "this is not a cryoSPARC table",
        file=path, expected="a .cs file", found="a result group" if path.suffix == ".csg" else describe(head),
        fix="give the .cs file that it names as metafile" if path.suffix == ".csg" else _SAVE_AGAIN,
    )  # fmt: skip


def _header(path: Path, stream: Any) -> tuple[np.dtype[Any], int]:
    """The type and the number of the rows; the stream is left at the first of them."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(stream)
        shape, _, dtype = readers[version](stream, max_header_size=_LONGEST_HEADER)
    except _MALFORMED as error:
        raise InputError(
            "cs.header", "the header of this table cannot be read",
            file=path, expected="names and types of columns", found=type(error).__name__, fix=_SAVE_AGAIN,
        )  from None  # fmt: skip
    if dtype.hasobject:
        raise InputError(
            "cs.objects", "refused: this table holds Python objects, which could run code",
            file=path, field=_object_column(dtype), expected="numbers and text", fix=_SAVE_AGAIN,
        )  # fmt: skip
    particles = (
        dtype.names is not None and "uid" in dtype.names and dtype["uid"].kind in "iu" and dtype["uid"].ndim == 0
    )
    if not particles or len(shape) != 1 or shape[0] < 0:
        raise InputError(
            "cs.not-particles", "this is an array, but not a table of particles",
            file=path, field="uid", expected="rows with a uid", found=f"{str(dtype)[:60]} of shape {shape}",
            fix="give the particles' .cs file of a refinement",
        )  # fmt: skip
    return dtype, int(shape[0])


def _object_column(dtype: np.dtype[Any]) -> str | None:
    return next((name for name in dtype.names or () if dtype[name].hasobject), None)
