"""Small files where RELION and workflow programs look for checkpoints, which lead to the run that holds the model.

Such programs copy one of them into the folder of another job, or link the folder that it lies in, and take it for all
that a later job needs. So it knows its run in three ways: from the root, from where it lies itself, and from the folder
of the project.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynaflex.errors import InputError
from dynaflex.io import durable
from dynaflex.io.magic import describe_file
from dynaflex.io.paths import absolute
from dynaflex.results.settings import open_run
from dynaflex.run.directory import CONFIG, Run

_SAYS = "leads to the run that holds the model; dynaflex wrote it, and it is no file of PyTorch"
_MOST = 1 << 16


def write_pointer(path: Path, run: Run) -> None:
    """Write the file at ``path`` that leads to a run."""
    durable.make_folder(path.parent)
    home, here = absolute(run.path), absolute(path.parent)
    content = {
        "this": _SAYS,
        "run": str(home),
        "from_here": os.path.relpath(home, here),
        "from_project": os.path.relpath(home, absolute(Path.cwd())),
        "digest": run.identity,
    }
    durable.write_json(path, content)


def followed(path: Path) -> Run:
    """The run that the file at ``path`` leads to: the first, of those that lie where it says, that is the one it means.

    Raises:
        InputError: it is not such a file, or there is no run in any of those places, or another one.
    """
    content = _read(path)
    others = []
    for place in _places(path, content):
        if (place / CONFIG).is_file():
            run = open_run(place)
            if run.identity == content["digest"]:
                return run
            others.append(place)
    found = f"another run in {others[0]}" if others else "nothing there"
    raise InputError(
        "relion.run-gone", "the run that this file leads to is not there any more", file=path,
        expected=f"the run of {content['run']}", found=found,
        fix="put it back where it was, or beside the folder that this file lies in",
    )  # fmt: skip


def _places(path: Path, content: dict[str, Any]) -> Iterator[Path]:
    """Beside the file, under the name that it was asked for and under its own; then where the run was."""
    for here in (absolute(path), path.resolve()):
        yield Path(os.path.normpath(here.parent / content["from_here"]))
    yield Path(content["run"])
    yield Path(content["from_project"])


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_MOST))
        if isinstance(content, dict) and {"run", "from_here", "from_project", "digest"} <= content.keys():
            return content
        reason = "other contents"
    except (OSError, ValueError):
        reason = describe_file(path) if path.is_file() else "no such file"
    raise InputError(
        "relion.foreign-checkpoint", "this is not a checkpoint of dynaflex", file=path,
        expected="checkpoint_final.pth of a job that relion_python_dynaflex did", found=reason,
        fix="train in a job of this program: models of DynaMight cannot be taken over",
    )  # fmt: skip
