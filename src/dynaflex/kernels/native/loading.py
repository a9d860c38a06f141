"""The compiled library: loaded, asked for the number of its interface, and called.

A library of another interface is what a new version of the sources without a rebuild leaves behind. To call it could
write anywhere, and to compute with torch instead would make a run many times slower and its numbers those of another
program, which a warning among many does not say loudly enough. It is an error, before anything is computed, that says
the one command which helps. A library that is not there is no error: then there was no compiler.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from dynaflex.errors import EnvironmentFault
from dynaflex.kernels.native.signatures import INTERFACE, SIGNATURES
from dynaflex.shapes import Tensor

PATH = Path(__file__).parents[1] / "_native.so"


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where the package was installed without a compiler; errors as :func:`load`."""
    return load(PATH) if PATH.exists() else None


def load(path: Path) -> ctypes.CDLL:
    """A library whose functions are those of :data:`SIGNATURES`.

    Raises:
        EnvironmentFault: it is that of another version, or of another machine.
    """
    try:
        loaded = ctypes.CDLL(str(path))
        found = getattr(loaded, "dynaflex_interface", int)()
    except OSError as error:
        raise _unfit(path, str(error)) from error
    if found != INTERFACE:
        raise _unfit(path, f"interface {found or 'unknown'}")
    for name, (result, arguments) in SIGNATURES.items():
        kernel = getattr(loaded, name)
        kernel.restype, kernel.argtypes = result, arguments
    return loaded


def function(name: str, *arrays: Tensor) -> Callable[..., None]:
    """A function of the library with its first arguments given; for the rest of them it may be called many times."""
    kernel = getattr(library(), name)
    pointers = [kind.from_param(array) for kind, array in zip(kernel.argtypes, arrays, strict=False)]
    return partial(kernel, *pointers)


def _unfit(path: Path, found: str) -> EnvironmentFault:
    return EnvironmentFault(
        "kernels.unfit",
        "the compiled kernels are not those of this version of dynaflex",
        file=path,
        expected=f"interface {INTERFACE}",
        found=found,
        fix=f"{rebuild(path)}; or set DYNAFLEX_KERNELS=reference to go on without, many times slower",
    )


def rebuild(path: Path) -> str:
    """The command that compiles the library at ``path`` anew, from the sources around it or from a package."""
    sources: Any = path.parents[3] if len(path.parents) > 3 else path
    if (sources / "setup.py").exists():
        return f"cd {sources} && {sys.executable} setup.py build_ext --force --inplace"
    return f"{sys.executable} -m pip install --force-reinstall --no-deps dynaflex"
