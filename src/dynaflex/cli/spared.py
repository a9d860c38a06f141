"""What no command writes over: the files it is given, and those that its run consists of and was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_OUTPUT, _RUN = "out", "run"


def spared(parameters: Mapping[str, Any]) -> Iterator[Path]:
    """The files that a command with these parameters must leave as they are, whether or not they are there.

    Before Typer 0.29 a path is still text here: whatever text names a file is taken for one.
    """
    for name, value in parameters.items():
        values = value if isinstance(value, list | tuple) else [value]
        if name != _OUTPUT:
            yield from (Path(one) for one in values if isinstance(one, str | Path))
    run = parameters.get(_RUN)
    # Without an output of its own a command may renew the run.
    if isinstance(run, str | Path) and parameters.get(_OUTPUT) is not None:
        from dynaflex.prepare.fingerprint import own_files

        yield from own_files(Path(run))
