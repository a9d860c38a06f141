"""Write docs/api.md: all that ``import dynaflex as df`` gives, from its docstrings, and the settings of each method."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynaflex import api
from dynaflex.checking.check import Findings
from dynaflex.config import RunConfig
from dynaflex.data.particles import Particles
from dynaflex.io.mrc import MrcMap
from dynaflex.prepare.simulated import Simulated
from dynaflex.report.notebook import Shown
from dynaflex.run.files import ParticleLatents
from dynaflex.training.installed import method_named
from dynaflex.training.installed import names as methods

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
FUNCTIONS = {
    "Before a run": ("simulate", "check", "read_particles", "read_map", "write_map"),
    "A run": ("train", "resume"),
    "What came of it": ("open", "fsc"),
}
RESULTS = (api.Run, ParticleLatents, api.Maps, MrcMap, Shown, api.Fsc, Particles, Findings, Simulated)
"""What the functions return, with what can be asked of it."""
_WIDEST = 100
_INNER = ("words", "unchecked_images", "image_faults", "image_of")
"""What only the rest of dynaflex asks of it."""

_HEADER = """\
# From Python

Made from the docstrings by `make docs`; a test keeps this page complete. `import dynaflex as df` takes a moment, and
torch is loaded when something is asked that needs it. Two notebooks show the door in use:
[from particles to maps](../notebooks/from_particles_to_maps.ipynb) and
[exploring a run](../notebooks/exploring_a_run.ipynb).

Points and vectors are (x, y, z) in Å with the origin at the box centre; volumes are `[z, y, x]`, images `[y, x]`. Of
shapes, b is particles that are asked for, p those of a data set, n points, k latent coordinates, f conformations, d
voxels a side, h pixels a side, s Fourier shells and v corners. Rows of the input table count from 0; axes, halves and
clusters from 1. `AnyPath` is a string or a `pathlib.Path`.

Errors are the classes of `dynaflex.errors`, each a `DynaflexError` with `identifier`, `file`, `field`, `row`,
`expected`, `found` and `fix` ([all of them](errors.md)). `StoppedOnRequest` is what interrupting a run raises, once
what was begun is saved.
"""


def page() -> str:
    """The whole page."""
    return _HEADER + "".join(_parts())


def _parts() -> Iterator[str]:
    for title, names in FUNCTIONS.items():
        yield f"\n## {title}\n"
        for name in names:
            yield _described(f"df.{name}", getattr(api, name), "###")
    yield "\n## What they return\n"
    for kind in RESULTS:
        yield f"\n### {kind.__name__}\n\n{_text(inspect.getdoc(kind) or '')}\n"
        for name, member in vars(kind).items():
            if not name.startswith("_") and name not in _INNER and _is_documented(member):
                yield _described(f"{kind.__name__}.{name}", member, "####")
    for method in methods():
        config = method_named(method).config
        yield f"\n## Settings of {method}\n\n| setting | default | meaning |\n|---|---|---|\n"
        yield from _settings(config)


def _is_documented(member: Any) -> bool:
    found = member.func if hasattr(member, "func") else getattr(member, "fget", member)
    return inspect.isfunction(found) and bool(found.__doc__)


def _described(name: str, member: Any, level: str) -> str:
    """A function, method or property under its name."""
    function = member.func if hasattr(member, "func") else getattr(member, "fget", member)
    asked = (
        f"{name}: {inspect.signature(function).return_annotation}" if function is not member else _call(name, function)
    )
    return (
        f"\n{level} {name.removeprefix('df.')}\n\n```python\n{asked}\n```\n\n{_text(inspect.getdoc(function) or '')}\n"
    )


def _call(name: str, function: Any) -> str:
    """How it is called, a parameter a line where one line is too short."""
    signature = inspect.signature(function)
    given: list[str] = []
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in given:
            given.append("*")
        stars = "**" if one.kind is one.VAR_KEYWORD else ""
        default = "" if one.default is one.empty else f" = {one.default!r}"
        given.append(f"{stars}{one.name}: {one.annotation}{default}")
    given = [one for one in given if not one.startswith("self:")]
    whole = f"{name}({', '.join(given)}) -> {signature.return_annotation}"
    if len(whole) <= _WIDEST:
        return whole
    lines = "".join(f"    {one},\n" for one in given)
    return f"{name}(\n{lines}) -> {signature.return_annotation}"


def _text(doc: str) -> str:
    """A docstring as Markdown."""
    doc = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", doc).replace("``", "`")
    parts = re.split(r"^(Args|Raises|Example):\n", doc, flags=re.MULTILINE)
    text = [parts[0].rstrip()]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        inner = textwrap.dedent(body).strip("\n")
        if title == "Example":
            text.append("```python\n" + "\n".join(map(_typed, inner.splitlines())) + "\n```")
        else:
            text.append(("" if title == "Args" else "Raises:\n\n") + "\n".join(_items(inner, title == "Args")))
    return "\n\n".join(text)


def _typed(line: str) -> str:
    """A line of an example: what is typed, or what comes back, as a comment."""
    return line.removeprefix(">>> ") if line.startswith(">>> ") else f"# {line}"


def _items(body: str, are_names: bool) -> Iterator[str]:
    """The lines of a section as a list; what is indented belongs to the item above it."""
    for item in re.split(r"\n(?=\S)", body):
        names, _, meaning = " ".join(item.split()).partition(": ")
        quoted = ", ".join(f"`{name}`" for name in names.split(", "))
        yield f"- {quoted}: {meaning}" if are_names or meaning else f"- {names}"


def _settings(config: type[RunConfig]) -> Iterator[str]:
    for name, option in config.options().items():
        field = config.model_fields[name]
        key = config.key_of(name).replace("-", "_")
        key = f"{key}_" if key == "class" else key
        unit = "" if option.unit in (None, "N") else f", {str(option.unit).lower() if option.unit != 'Å' else 'Å'}"
        default = "" if field.default is None else f"`{field.default!r}`"
        yield f"| `{key}`{unit} | {default} | {field.description} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
