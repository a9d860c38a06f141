"""Pickles for programs that read nothing else: arrays and numbers are written, and nothing that runs."""

from __future__ import annotations

import pickle  # noqa: TID251  (cryoSPARC and cryoDRGN read nothing else; only arrays and numbers are written)
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dynaflex.io.durable import write_bytes

Plain = dict[str, Any] | tuple[NDArray[Any], ...] | NDArray[Any]
"""Arrays, or numbers and arrays by name."""


def write_pickled(path: Path | str, content: Plain) -> None:
    """Write what numpy 1 and 2 both read.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    # Protocol 3 spells out names of modules, and only the name of numpy 1 is known to numpy 1 and 2.
    written = pickle.dumps(content, protocol=3)
    write_bytes(path, written.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
