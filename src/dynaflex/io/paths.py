"""Paths that are written down, to be used later and from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path


def absolute(path: Path | str) -> Path:
    """The same path from the root on, without ``..``.

    Symbolic links stay as they are, so that a project is found under the name that its user knows; but for one before a
    ``..``, which leads up from where the link points to.
    """
    whole = Path()
    for part in Path(path).absolute().parts:
        if part == "..":
            whole = Path(os.path.realpath(whole) if os.path.islink(whole) else whole).parent
        else:
            whole /= part
    return whole
