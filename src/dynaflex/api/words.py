"""Errors in the words of who calls from Python: an option of the command line is an argument here."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dynaflex.errors import DynaflexError, UsageError

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
_COMMAND = re.compile(r"\b(?:dynaflex|relion_\w+|pip|ssh)\s[^;,)]*")

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=DynaflexError)


def in_python(text: str) -> str:
    """A text with arguments in place of options; what is typed at a terminal stays as it is."""
    said, after = "", 0
    for command in _COMMAND.finditer(text):
        said += _argued(text[after : command.start()]) + command[0]
        after = command.end()
    return said + _argued(text[after:])


def error_in_python(error: E) -> E:
    """An error that names arguments."""
    texts = {name: getattr(error, name) for name in ("problem", "field", "expected", "fix")}
    changed = {name: in_python(text) for name, text in texts.items() if isinstance(text, str)}
    if isinstance(error, UsageError):
        changed["field_is"] = "argument"
    return error.but(**changed)


def speaks_python(function: Callable[P, T]) -> Callable[P, T]:
    """A function of the door, whose errors name its arguments."""

    @functools.wraps(function)
    def door(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except DynaflexError as error:
            raise error_in_python(error) from error

    return door


def _argued(text: str) -> str:
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), text)
