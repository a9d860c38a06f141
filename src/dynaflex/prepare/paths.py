"""The files that a run is made from, as the user names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dynaflex.io.paths import absolute

AUTO, OFF = "auto", "off"
"""Where images are kept while they are worked on: in memory if they fit, else on the disk of the run; in memory. All
else is a folder."""
_PLAIN = "strip_prefix"
_EVERY = ("particles", "consensus", "mask", "half_maps", "datadir", _PLAIN)


@dataclass(frozen=True)
class InputPaths:
    """The files a user names; ``own`` are those that one method alone takes, by their names.

    Images are looked for in ``datadir``, under their names without ``strip_prefix``.
    """

    particles: Path
    consensus: Path
    mask: Path | None = None
    half_maps: tuple[Path, Path] | None = None
    own: Mapping[str, Path] = field(default_factory=dict)
    datadir: Path | None = None
    strip_prefix: str | None = None

    def named(self) -> Iterator[tuple[str, Path]]:
        """Every file and folder that was given, with its name; half-maps have one name."""
        for name in _EVERY:
            value = getattr(self, name)
            if value is not None and name != _PLAIN:
                yield from ((name, path) for path in (value if isinstance(value, tuple) else (value,)))
        yield from self.own.items()

    def at(self, places: Mapping[str, Any]) -> InputPaths:
        """The same inputs, those that are named in ``places`` there."""
        own = {name: places.get(name, path) for name, path in self.own.items()}
        return replace(self, own=own, **{name: value for name, value in places.items() if name in _EVERY})

    def as_dict(self) -> dict[str, Any]:
        """Absolute paths as strings, for ``provenance.json``."""
        plain: dict[str, Any] = dict.fromkeys(_EVERY) | {_PLAIN: self.strip_prefix}
        for name, path in self.named():
            whole = str(absolute(path))
            plain[name] = [*(plain[name] or []), whole] if name == "half_maps" else whole
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> InputPaths:
        """Undo :meth:`as_dict`."""
        half_maps = plain.get("half_maps")
        found = {name: Path(plain[name]) for name in (*_EVERY[:3], "datadir") if plain.get(name) is not None}
        return cls(
            **found,
            half_maps=None if half_maps is None else (Path(half_maps[0]), Path(half_maps[1])),
            own={name: Path(path) for name, path in plain.items() if name not in _EVERY and path is not None},
            strip_prefix=plain.get(_PLAIN),
        )
