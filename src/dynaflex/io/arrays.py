"""Files of numpy's arrays, ``.npy`` and ``.npz``, that a user names; pickles in them are not read."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io.magic import describe_file
from dynaflex.shapes import FloatArray

UNREADABLE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""All that numpy raises at a file that is cut, damaged or something else; whoever catches it says what was meant."""


def are_vectors(values: NDArray[Any], columns: int) -> bool:
    """Whether these are finite numbers ``(n columns)``."""
    fits = values.ndim == 2 and values.shape[1] == columns and values.dtype.kind in "fiu"
    return fits and bool(np.isfinite(values).all())


def read_arrays(path: Path | str) -> dict[str, Any]:
    """All arrays of a file by their names; that of a single one has no name.

    Raises:
        UNREADABLE: they cannot be read.
    """
    with Path(path).open("rb") as stream:
        content = np.load(stream, allow_pickle=False)
        return {name: content[name] for name in content.files} if hasattr(content, "files") else {"": content}


def read_vectors(path: Path, columns: int) -> FloatArray:
    """Vectors ``(n columns)`` of finite numbers from a ``.npy`` file, float32; pickles are not read.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        (values,) = read_arrays(path).values()
    except UNREADABLE as error:
        raise InputError(
            "npy.unreadable", "this array cannot be read",
            file=path, found=describe_file(path) if path.is_file() else "no such file", fix="save it with numpy.save",
        ) from error  # fmt: skip
    if not are_vectors(values, columns):
        raise InputError(
            "npy.shape", "unexpected array",
            file=path, expected=f"finite numbers (n, {columns})", found=values.shape,
            fix="save one row of so many numbers each with numpy.save",
        )  # fmt: skip
    return values.astype(np.float32)
