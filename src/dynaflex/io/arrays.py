"""Files of numpy's arrays, ``.npy`` and ``.npz``, that a user names; pickles in them are not read."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
