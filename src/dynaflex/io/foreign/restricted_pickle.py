"""Arrays out of other programs' pickles, without running any code of theirs.

A pickle is a program that may call anything. Here it can name nothing but numpy's own constructors, and even those are
not numpy's: stand-ins note down what an array is made of, and the array is built from that after its size was checked.
"""

from __future__ import annotations

import math
import pickle  # noqa: TID251  (read through stand-ins only: see find_class)
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dynaflex.errors import InputError

_PLAIN_DTYPE = re.compile(r"\?|[biufcSU]\d{1,9}")
_MALFORMED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def load_arrays(path: Path | str) -> object:
    """The first object of a pickle: numpy arrays and scalars, and dicts, lists, tuples, str, bytes, numbers and None.

    Arrays hold booleans, numbers or text, or (dtype object) more of the same. Pickles of numpy 1 and 2 are read alike.

    Raises:
        InputError: there is no such file, it is no pickle, or it holds, or asks for, anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("pickle.not-found", "there is no such file", file=path, fix="check the path")
    try:
        with path.open("rb") as stream:
            return _plain(_ArrayUnpickler(stream).load(), {})
    except _Refused as refusal:
        raise InputError(
            "pickle.refused",
            "this pickle holds more than arrays",
            file=path,
            expected="numpy arrays, numbers, text, dicts, lists and tuples",
            found=refusal,
            fix="save the arrays themselves as .npz or .npy; code in a pickle is not run",
        ) from None
    except _MALFORMED as error:
        raise InputError(
            "pickle.not-readable",
            "this is not a whole pickle of arrays",
            file=path,
            found=f"{type(error).__name__}: {error}",
            fix="write or copy the file again",
        ) from error


class _Refused(Exception):
    """Something that is not to be read; the text names it."""


class _Constructor:
    """A function that a pickle may call, and may do nothing else with."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _Refused("the state of a function")


class _Dtype:
    """What numpy pickles of a dtype: its kind and size, then its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, text: str, *_flags: object) -> None:
        if not _PLAIN_DTYPE.fullmatch(text) and text not in ("O", "O8"):
            raise _Refused(f"an array of dtype {text[:40]!r}")
        self.dtype: np.dtype[Any] = np.dtype(text)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """What numpy pickles of an array: shape, dtype, order, and its memory or, for dtype object, a list of its items."""

    __slots__ = ("content", "dtype", "fortran", "shape")

    def __init__(self) -> None:
        self.dtype = np.dtype(np.uint8)
        self.shape: tuple[int, ...] = (0,)
        self.fortran = False
        self.content: bytes | bytearray | list[object] = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.shape, dtype, self.fortran, self.content = state[-4:]
        self.dtype = _dtype(dtype)

    def build(self, memo: dict[int, object]) -> np.ndarray[Any, Any]:
        """The array itself, once its memory was seen to be as large as its shape says."""
        order: Literal["C", "F"] = "F" if self.fortran else "C"
        count = math.prod(self.shape)
        if self.dtype.hasobject:
            if not isinstance(self.content, list) or len(self.content) != count:
                raise ValueError(f"an array of shape {self.shape} without its items")
            items = np.empty(count, dtype=object)
            for i, value in enumerate(self.content):
                items[i] = _plain(value, memo)
            return items.reshape(self.shape, order=order)
        if not isinstance(self.content, bytes | bytearray) or len(self.content) != count * self.dtype.itemsize:
            raise ValueError(f"an array of shape {self.shape} and dtype {self.dtype} without its memory")
        return np.ndarray(self.shape, self.dtype, bytes(self.content), order=order).copy(order="K")


class _Scalar:
    """What numpy pickles of a single number."""

    __slots__ = ("array",)

    def __init__(self, dtype: object, content: object = b"") -> None:
        self.array = _Array()
        self.array.__setstate__(((), dtype, False, content))

    def __setstate__(self, state: object) -> None:
        raise _Refused("the state of a number")


def _dtype(stand_in: object) -> np.dtype[Any]:
    if not isinstance(stand_in, _Dtype):
        raise _Refused("an array without a dtype")
    return stand_in.dtype


def _empty_array(*_subtype_shape_and_dtype: object) -> _Array:
    return _Array()


def _array_from_buffer(content: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.__setstate__((shape, dtype, order == "F", content))
    return array


def _latin1_bytes(text: str = "", encoding: str = "latin1") -> bytes:
    """How protocols below 3 write bytes: as text of the same code points."""
    if encoding != "latin1":
        raise _Refused(f"text to encode as {encoding!r}")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy", "ndarray"): _Constructor(_empty_array),
    ("numpy", "dtype"): _Constructor(_Dtype),
    ("numpy._core.multiarray", "_reconstruct"): _Constructor(_empty_array),
    ("numpy._core.multiarray", "scalar"): _Constructor(_Scalar),
    ("numpy._core.numeric", "_frombuffer"): _Constructor(_array_from_buffer),
    ("_codecs", "encode"): _Constructor(_latin1_bytes),
    ("__builtin__", "bytes"): _Constructor(_latin1_bytes),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        """The stand-in for a constructor of numpy's; anything else is refused before it is imported."""
        if module.startswith("numpy.core."):
            module = module.replace("numpy.core.", "numpy._core.", 1)
        if (module, name) not in _ALLOWED:
            raise _Refused(f"{module}.{name}"[:120])
        return _ALLOWED[module, name]


def _plain(value: object, memo: dict[int, object]) -> object:
    """``value`` with every stand-in replaced by its array. An object that occurs twice is built once."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if id(value) not in memo:
        memo[id(value)] = _UNDER_WAY
        memo[id(value)] = _built(value, memo)
    if memo[id(value)] is _UNDER_WAY:
        raise _Refused("an object that contains itself")
    return memo[id(value)]


_UNDER_WAY = object()


def _built(value: object, memo: dict[int, object]) -> object:
    if isinstance(value, _Array):
        return value.build(memo)
    if isinstance(value, _Scalar):
        return value.array.build(memo)[()]
    if isinstance(value, list):
        return [_plain(item, memo) for item in value]
    if isinstance(value, tuple):
        return tuple(_plain(item, memo) for item in value)
    if isinstance(value, dict):
        return {_plain(key, memo): _plain(item, memo) for key, item in value.items()}
    raise _Refused(type(value).__name__.lstrip("_").lower())
