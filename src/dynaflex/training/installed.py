"""Which methods there are: the entry points of the group ``dynaflex.methods``, our own and those of other packages."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from dynaflex.errors import EnvironmentFault, UsageError
from dynaflex.training.method import AnyMethod, Method

GROUP = "dynaflex.methods"
_OWN = "dynaflex"
_TREE = Path(__file__).parents[3] / "pyproject.toml"


def names() -> list[str]:
    """The names of all methods, whether or not they can be loaded; our own come first."""
    return list(_declared())


@cache
def method_named(name: str) -> AnyMethod:
    """The method of that name.

    Raises:
        UsageError: there is none.
        EnvironmentFault: the package that brings it is broken.
    """
    if name not in _declared():
        raise UsageError("train.method", f"there is no method {name!r}", expected=" or ".join(names()))
    point = _declared()[name]
    try:
        found: AnyMethod = point.load()
        if not isinstance(found, Method) or found.name != name:
            raise TypeError(f"this is no method of the name {name}")
    except Exception as error:
        owner = point.dist.name if point.dist else _OWN
        raise EnvironmentFault(
            "method.broken", f"the method {name!r} cannot be loaded", expected=f"{point.value} of {owner}",
            found=f"{type(error).__name__}: {error}", fix=f"install {owner} again, or take it away",
        ) from error  # fmt: skip
    return found


@cache
def _declared() -> dict[str, EntryPoint]:
    installed = sorted(entry_points(group=GROUP), key=lambda point: point.dist is not None and point.dist.name != _OWN)
    return {point.name: point for point in (*installed, *_of_source_tree())}


def _of_source_tree() -> Iterator[EntryPoint]:
    """What a source tree declares itself, whatever was installed from it some time ago."""
    if _TREE.is_file():
        project = tomllib.loads(_TREE.read_text(encoding="utf-8")).get("project", {})
        for name, value in project.get("entry-points", {}).get(GROUP, {}).items():
            yield EntryPoint(name, value, GROUP)
