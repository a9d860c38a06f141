"""Pickles read in a process of their own, which may do next to nothing.

The reader of :mod:`dynaflex.io.foreign.restricted_pickle` runs no code of a file. Should a file find a way around it
all the same, it finds itself in a process without the user's environment, that can write no file, start no program,
and use only so much memory and time; all that comes back from there are plain arrays.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.io.foreign.restricted_pickle import load_arrays

_SECONDS = 120
# What the interpreter and numpy take, and how often the bytes of a file may be held at once.
_BASE_MEMORY, _COPIES = 2**30, 8
# Threads of the linear algebra would only take memory here.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from dynaflex.io.foreign.pickle_jail import serve; serve(sys.argv[2])"
)


def load_arrays_jailed(path: Path | str) -> list[NDArray[Any]]:
    """The arrays of a pickle that is one, or a tuple or list of them.

    Raises:
        InputError: there is no such file, or it is or does anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("pickle.not-found", "there is no such file", file=path, fix="check the path")
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD, json.dumps(sys.path), str(path.absolute())],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, env=_ENVIRONMENT, cwd="/", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _too_much(path, f"more than {_SECONDS} s") from error
    if child.returncode == InputError.exit_code:
        said = json.loads(child.stderr)
        raise InputError(
            "pickle.refused", said["problem"], file=path, expected=said["expected"], found=said["found"],
            fix="save the arrays themselves as .npz or .npy; code in a pickle is not run",
        )  # fmt: skip
    if child.returncode != 0:
        raise _too_much(path, f"the reader ended with {child.returncode}")
    try:
        with np.load(io.BytesIO(child.stdout), allow_pickle=False) as archive:
            return [archive[name] for name in archive.files]
    except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise _too_much(path, "no arrays") from error


def _too_much(path: Path, found: str) -> InputError:
    return InputError(
        "pickle.limits", "reading this pickle took more memory or time than its size warrants",
        file=path, expected="arrays", found=found, fix="save the arrays themselves as .npz or .npy",
    )  # fmt: skip


def serve(path: str) -> None:
    """The child: take what is not needed from this process, then read, and write the arrays to standard output."""
    memory = _BASE_MEMORY + _COPIES * Path(path).stat().st_size
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    try:
        found = load_arrays(path)
        arrays = _arrays(found)
        content = io.BytesIO()
        np.savez(content, *arrays)
    except InputError as error:
        said = {"problem": error.problem, "expected": str(error.expected), "found": str(error.found)[:200]}
        print(json.dumps(said), file=sys.stderr)
        sys.exit(error.exit_code)
    sys.stdout.buffer.write(content.getvalue())


def _arrays(found: object) -> list[NDArray[Any]]:
    items = list(found) if isinstance(found, tuple | list) else [found]
    arrays = [item for item in items if isinstance(item, np.ndarray) and not item.dtype.hasobject]
    if not items or len(arrays) < len(items):
        raise InputError(
            "pickle.not-arrays",
            "this pickle holds something else than arrays",
            expected="an array, or a tuple of arrays",
            found=", ".join(type(item).__name__ for item in items[:4]),
            fix="save the arrays themselves as .npz or .npy",
        )
    return arrays
